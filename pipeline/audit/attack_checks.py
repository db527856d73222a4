"""Checks that compare attacks with each other; each can be read against what it cites."""

import math
from collections.abc import Iterator

from pipeline.audit.check import Check, gain, judge, more_broken, points, skipped
from pipeline.audit.evidence import (
    ADAPTIVE,
    ANYTHING,
    BLIND,
    FEW,
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
)


def steps(evidence: Evidence) -> Iterator[Check]:
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
        sentence=f"Robust accuracy is {100 * (rate - gaps[0]):.1f} % after one step, "
        f"{100 * (rate - gaps[1]):.1f} % after 10, {100 * rate:.1f} % after 50. Above the lower of "
        f"the first two the last stands by {round(100 * max(gaps), 1) + 0.0:.1f} points.",
    )


def surrogates(evidence: Evidence) -> Iterator[Check]:
    """Bu et al. (2023), Ozdenizci & Legenstein (2024): the training surrogate flatters."""
    yield from gain(
        "surrogates",
        "Would one surrogate have been enough?",
        evidence.restarted(),
        evidence.survivors([MANY]),
        0.03,
        0.10,
        "Attacking through other surrogates than the training one, as often as that one,",
    )
    yield from gain(
        "adaptive surrogate",
        "Does an attack that adapts its surrogate see more? (ASSG with SA-PGD)",
        evidence.survivors([*GRADIENT, *LOSSES]),
        evidence.survivors([ADAPTIVE]),
        0.03,
        0.10,
        "It",
    )
    yield from gain(
        "straight through",
        "Do gradients that ignore membrane potentials see more? (straight-through, ReLU network)",
        evidence.survivors([*GRADIENT, *LOSSES, ADAPTIVE]),
        evidence.survivors([STRAIGHT]),
        0.01,
        0.05,
        "Following them",
    )


def black_box(evidence: Evidence) -> Iterator[Check]:
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
        yield from gain(name, question, white, found, pass_at, fail_at, what)
    question = "Does a plane through the image hold what gradients miss?"
    plane = evidence.probe.get("plane_breaks")
    if evidence.is_random:
        why = "the network's answers are random: of a plane's many, one is wrong by chance"
        yield skipped("loss surface", question, why)
        return
    yield from gain(
        "loss surface",
        question,
        white,
        None if plane is None else plane < 0.5,
        0.01,
        0.03,
        "The plane along the gradient's and a random sign",
    )


def radii(evidence: Evidence) -> Iterator[Check]:
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


def convergence(evidence: Evidence) -> Iterator[Check]:
    """Carlini et al. (2019): more of the same must change little."""
    rest = evidence.white_box(without=(LONG, RESTARTS))
    yield from gain(
        "convergence",
        "Do 1,000 steps find what all the other attacks miss?",
        rest,
        evidence.survivors([LONG]),
        0.01,
        0.05,
        "PGD with 1,000 steps",
    )
    yield from gain(
        "restarts",
        "Do five starts find what all the other attacks miss?",
        rest,
        evidence.survivors([RESTARTS]),
        0.01,
        0.05,
        "PGD from five starts",
    )
    yield from gain(
        "targets",
        "Does aiming at each wrong class in turn see more?",
        evidence.survivors([*GRADIENT, *LOSSES]),
        evidence.survivors([TARGETED]),
        0.03,
        0.10,
        "Targeted APGD",
    )


def losses(evidence: Evidence) -> Iterator[Check]:
    """Carlini & Wagner (2017), Croce & Hein (2020): logits must not blunt the loss."""
    question = "Do losses agree? (cross-entropy, margin, DLR under APGD)"
    found = [flags for attack in LOSSES if (flags := evidence.survivors([attack])) is not None]
    if len(found) < len(LOSSES):
        yield skipped("losses", question, "not run: the audit suite has no such attacks")
    else:
        weakest = max(found, key=lambda flags: int(flags.sum()))
        strongest = min(found, key=lambda flags: int(flags.sum()))
        gap, total = float(weakest.mean() - strongest.mean()), len(evidence.clean)
        shown = ", ".join(
            f"{100 * float(flags.mean()):.1f} % ({attack})"
            for attack, flags in zip(LOSSES, found, strict=True)
        )
        yield judge(
            "losses",
            question,
            gap,
            pass_at=0.03,
            fail_at=0.10,
            # A difference of paired counts varies with all the samples on which they disagree.
            error=math.sqrt(int((weakest != strongest).sum()) + 1.0) / total,
            sentence=f"Robust accuracy is {shown}: {100 * gap:.1f} points from the strongest to "
            "the weakest.",
        )
    yield from gain(
        "scale",
        "Does the scale of the logits blunt cross-entropy?",
        evidence.restarted(),
        evidence.survivors([SCALED]),
        0.03,
        0.10,
        "The same attack on rescaled logits",
    )


def headline(evidence: Evidence) -> Iterator[Check]:
    """The audit's own union against the number that is reported."""
    name, question = "reported number", "Does the reported robust accuracy survive the audit?"
    if evidence.reported is None:
        yield skipped(name, question, "not run: it stands in sweeps, beside their report suite")
        return
    yield from gain(name, question, evidence.reported, evidence.union, 0.03, 0.10, "The audit")
