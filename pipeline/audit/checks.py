"""The checks of the trust audit; each can be read against the literature it cites."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from pipeline.audit.check import Check, Status, judge, more_broken, points, skipped
from pipeline.audit.evidence import (
    ADAPTIVE,
    ANYTHING,
    BLIND,
    FEW,
    FEWER_DRAWS,
    GRADIENT,
    LARGER,
    LONG,
    LOSSES,
    MANY,
    RANDOM_SEARCH,
    RESTARTS,
    SCALED,
    SINGLE,
    STILL,
    STRAIGHT,
    TARGETED,
    TRANSFER,
    Evidence,
    Flags,
)
from pipeline.threats import CLEAN


def _gain(
    evidence: Evidence,
    name: str,
    question: str,
    weaker: Flags | None,
    stronger: Flags | None,
    pass_at: float,
    fail_at: float,
    what: str,
) -> Iterator[Check]:
    """One check: how much `stronger` breaks that `weaker` does not."""
    if weaker is None or stronger is None:
        yield skipped(name, question, "not run: the audit suite has no such attack")
        return
    share, error = more_broken(weaker, weaker & stronger)
    yield judge(
        name,
        question,
        share,
        pass_at=pass_at,
        fail_at=fail_at,
        error=error,
        sentence=f"{what} breaks {points(share)} beyond it.",
    )


def _steps(evidence: Evidence) -> Iterator[Check]:
    """Athalye et al. (2018): iterating must not be weaker than a single step."""
    name, question = "iterations", "Are many steps at least as strong as few?"
    many = evidence.survivors([MANY])
    fewer = [evidence.survivors(attacks) for attacks in (SINGLE, [FEW])]
    if many is None or any(found is None for found in fewer):
        yield skipped(name, question, "not run: the audit suite has no such attacks")
        return
    rate = float(many.mean())
    gaps = [rate - float(found.mean()) for found in fewer if found is not None]
    yield judge(
        name,
        question,
        max(gaps),
        pass_at=0.0,
        fail_at=0.05,
        error=math.sqrt((rate * (1 - rate) + 0.25 / len(many)) / len(many)),
        sentence=f"Robust accuracy is {100 * rate:.1f} % after 50 steps, "
        f"{-100 * gaps[1]:+.1f} points after 10 and {-100 * gaps[0]:+.1f} after one.",
    )


def _surrogates(evidence: Evidence) -> Iterator[Check]:
    """Bu et al. (2023), Ozdenizci & Legenstein (2024): the training surrogate flatters."""
    own = evidence.survivors([MANY], oracle="own")
    yield from _gain(
        evidence,
        "surrogates",
        "Would one surrogate have been enough?",
        own,
        evidence.survivors([MANY]),
        0.03,
        0.10,
        "Attacking through other surrogates than the training one",
    )
    yield from _gain(
        evidence,
        "adaptive surrogate",
        "Does an attack that adapts its surrogate see more? (ASSG with SA-PGD)",
        evidence.survivors([*GRADIENT, *LOSSES]),
        evidence.survivors([ADAPTIVE]),
        0.03,
        0.10,
        "It",
    )
    yield from _gain(
        evidence,
        "straight through",
        "Do gradients that ignore membrane potentials see more? (straight-through, ReLU network)",
        evidence.survivors([*GRADIENT, *LOSSES, ADAPTIVE]),
        evidence.survivors([STRAIGHT]),
        0.01,
        0.05,
        "Following them",
    )


def _black_box(evidence: Evidence) -> Iterator[Check]:
    """Athalye et al. (2018); AutoAttack's flags: what sees less must not break more."""
    white = evidence.white_box()
    rows = (
        ("random search", "Does random search break what gradients miss? (Square)",
         [RANDOM_SEARCH], 0.01, 0.03, "Random search"),
        ("random noise", "Does random noise break what gradients miss?",
         BLIND, 0.005, 0.02, "Noise"),
        ("transfer", "Do other networks' gradients break what its own miss?",
         [TRANSFER], 0.01, 0.03, "Attacking other networks"),
    )  # fmt: skip
    for name, question, attacks, pass_at, fail_at, what in rows:
        found = evidence.survivors(attacks)
        yield from _gain(evidence, name, question, white, found, pass_at, fail_at, what)
    plane = evidence.probe.get("plane_breaks")
    yield from _gain(
        evidence,
        "loss surface",
        "Does a plane through the image hold what gradients miss?",
        white,
        None if plane is None else plane < 0.5,
        0.01,
        0.03,
        "The plane along the gradient's and a random sign",
    )


def _radii(evidence: Evidence) -> Iterator[Check]:
    """Athalye et al. (2018): an unbounded attack must succeed, a still one must not."""
    question = "Does a still attack leave the accuracy as it is?"
    still = evidence.survivors([STILL])
    if still is None:
        yield skipped("radius zero", question, "not run: the audit suite has no such attack")
    else:
        share, _ = more_broken(evidence.clean, still)
        yield judge(
            "radius zero",
            question,
            share,
            pass_at=0.0,
            fail_at=0.0,
            sentence=f"At radius 0 the verdict changes on {points(share)}.",
        )
    question = "Does robust accuracy fall to chance as the radius grows?"
    chance = 1.0 / evidence.num_classes
    found = {name: evidence.survivors([name]) for name in (*LARGER, ANYTHING)}
    rates = {name: float(flags.mean()) for name, flags in found.items() if flags is not None}
    if ANYTHING not in rates or LARGER[-1] not in rates:
        yield skipped("large radius", question, "not run: the audit suite has no such attacks")
        return
    total = len(evidence.clean)
    error = math.sqrt((chance * (1 - chance)) / total)
    yield judge(
        "large radius",
        question,
        max(rates[LARGER[-1]] - chance, rates[ANYTHING]),
        pass_at=0.0,
        fail_at=0.05,
        error=error,
        sentence="Robust accuracy is "
        + ", ".join(f"{100 * rates[name]:.1f} % ({name})" for name in rates)
        + f"; chance is {100 * chance:.1f} %.",
    )


def _convergence(evidence: Evidence) -> Iterator[Check]:
    """Carlini et al. (2019): more of the same must change little."""
    rest = evidence.white_box(without=(LONG, RESTARTS))
    yield from _gain(
        evidence,
        "convergence",
        "Do 1,000 steps find what all the other attacks miss?",
        rest,
        evidence.survivors([LONG]),
        0.01,
        0.05,
        "PGD with 1,000 steps",
    )
    yield from _gain(
        evidence,
        "restarts",
        "Do five starts find what all the other attacks miss?",
        rest,
        evidence.survivors([RESTARTS]),
        0.01,
        0.05,
        "PGD from five starts",
    )
    yield from _gain(
        evidence,
        "targets",
        "Does aiming at each wrong class in turn see more?",
        evidence.survivors([*GRADIENT, *LOSSES]),
        evidence.survivors([TARGETED]),
        0.03,
        0.10,
        "Targeted APGD",
    )


def _losses(evidence: Evidence) -> Iterator[Check]:
    """Carlini & Wagner (2017), Croce & Hein (2020): logits must not blunt the loss."""
    question = "Do losses agree? (cross-entropy, margin, DLR under APGD)"
    rates = []
    for attack in LOSSES:
        found = evidence.survivors([attack])
        if found is not None:
            rates.append(float(found.mean()))
    if len(rates) < len(LOSSES):
        yield skipped("losses", question, "not run: the audit suite has no such attacks")
    else:
        gap, total = max(rates) - min(rates), len(evidence.clean)
        shown = ", ".join(f"{100 * rate:.1f} %" for rate in rates)
        yield judge(
            "losses",
            question,
            gap,
            pass_at=0.02,
            fail_at=0.10,
            error=math.sqrt(gap * total + 1.0) / total,
            sentence=f"Robust accuracy is {shown}: {100 * gap:.1f} points apart.",
        )
    yield from _gain(
        evidence,
        "scale",
        "Does the scale of the logits blunt cross-entropy?",
        evidence.survivors([MANY], oracle="own"),
        evidence.survivors([SCALED]),
        0.03,
        0.10,
        "The same attack on rescaled logits",
    )


def _gradients(evidence: Evidence) -> Iterator[Check]:
    """AutoAttack's flags, Athalye et al. (2018): is there a gradient, and does it point upwards?"""
    probe, correct = evidence.probe, evidence.clean
    if not probe or not correct.any():
        for name in ("zero gradients", "gradient fidelity"):
            yield skipped(name, "Does the gradient exist and point upwards?", "nothing was probed")
        return

    def mean(name: str) -> float:
        return float(probe[name][correct].mean())

    zero = max(mean("zero_cross_entropy"), mean("zero_margin"))
    yield judge(
        "zero gradients",
        "Is there a gradient to follow?",
        zero,
        pass_at=0.0,
        fail_at=0.01,
        sentence=f"The gradient vanishes on {points(mean('zero_cross_entropy'))} for "
        f"cross-entropy and on {points(mean('zero_margin'))} for the margin; the median largest "
        f"logit is {float(np.median(probe['largest_logit'][correct])):.3g}.",
    )
    ascent, random = mean("ascent"), mean("random_ascent")
    total = int(correct.sum())
    yield judge(
        "gradient fidelity",
        "Does a step along the gradient raise the true loss?",
        ascent - random,
        pass_at=0.20,
        fail_at=0.05,
        error=0.5 / math.sqrt(total),
        more_is_better=True,
        sentence=f"A step along its sign raises the loss of {points(ascent)}, one along a random "
        f"sign of {points(random)}; its cosine to differences of the true loss is "
        f"{float(np.nanmean(probe['cosine'][correct])):.2f} of what those can show.",
    )


def _support(evidence: Evidence) -> Iterator[Check]:
    """Do membrane potentials lie where the training surrogate passes gradients?"""
    question = "Do membrane potentials lie within the training surrogate's reach?"
    shares = {n: float(v.mean()) for n, v in evidence.probe.items() if n.startswith("support_")}
    if not shares:
        yield skipped("membrane support", question, "the network's neurons are not known here")
        return
    layer = min(shares, key=lambda name: shares[name])
    yield judge(
        "membrane support",
        question,
        shares[layer],
        pass_at=0.10,
        fail_at=0.02,
        more_is_better=True,
        sentence=f"In layer {layer.removeprefix('support_')} only {100 * shares[layer]:.1f} % of "
        "them do; the lowest of all layers.",
    )


def _answers(evidence: Evidence) -> Iterator[Check]:
    """AutoAttack's flags: random answers need EOT, and logits must be logits."""
    probe = evidence.probe
    if not probe:
        return
    question = "Are random answers met with averaged gradients? (EOT)"
    differs = float(probe["repeat_difference"].max())
    changes = float(probe["repeat_changes"].mean())
    is_random = differs > 1e-4 or changes > 0
    draws = min((m.eot_draws for m in evidence.members.values() if m.attack_name in GRADIENT),
                default=1)  # fmt: skip
    if not is_random:
        found = "The network gives the same answer each time."
    else:
        found = (
            f"Answers differ by up to {differs:.2g}, and on {points(changes)} the class; the "
            f"gradients are means over {draws} draw{'' if draws == 1 else 's'}."
        )
    yield Check(
        name="randomness",
        question=question,
        status=Status.FAIL if is_random and draws < 2 else Status.PASS,
        value=differs,
        pass_at=1e-4,
        fail_at=1e-4,
        sentence=found,
    )
    if is_random:
        own = evidence.survivors([FEW], oracle="own")
        rates = {name: evidence.survivors([name]) for name in FEWER_DRAWS}
        shown = ", ".join(
            f"{100 * float(found.mean()):.1f} % ({name})"
            for name, found in rates.items()
            if found is not None
        )
        yield from _gain(
            evidence,
            "draws",
            "Do more draws still find more?",
            rates[FEWER_DRAWS[-1]],
            own,
            0.03,
            0.10,
            f"The attack with {draws} draws, after {shown} robust accuracy with fewer,",
        )
    share = float(probe["probabilities"].mean())
    yield judge(
        "logits",
        "Are the outputs logits, not probabilities?",
        share,
        pass_at=0.0,
        fail_at=0.5,
        sentence=f"On {points(share)} the output is a distribution already.",
    )


def _ball(evidence: Evidence) -> Iterator[Check]:
    """No verdict may rest on an image outside the ball."""
    excess = max(
        (
            float(evidence.distance[name].max()) - member.epsilon
            for name, member in evidence.members.items()
            if member.attack_name != CLEAN
        ),
        default=0.0,
    )
    yield judge(
        "ball",
        "Does every attacked image lie within its radius?",
        max(excess, 0.0),
        pass_at=1e-6,
        fail_at=1e-6,
        sentence=f"The farthest lies {max(excess, 0.0):.1g} beyond it (rounding).",
    )


def _headline(evidence: Evidence) -> Iterator[Check]:
    """The audit's own union against the number that is reported."""
    yield from _gain(
        evidence,
        "reported number",
        "Does the reported robust accuracy survive the audit?",
        evidence.reported,
        evidence.union,
        0.03,
        0.10,
        "The audit",
    )


CHECKS: tuple[Callable[[Evidence], Iterator[Check]], ...] = (
    _headline,
    _steps,
    _surrogates,
    _black_box,
    _radii,
    _convergence,
    _losses,
    _gradients,
    _support,
    _answers,
    _ball,
)
