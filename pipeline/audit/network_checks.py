"""Checks of the network's own gradients and answers, as the probe measured them."""

import math
from collections.abc import Iterator

import numpy as np

from pipeline.audit.check import Check, Status, gain, judge, points, skipped
from pipeline.audit.evidence import FEW, FEWER_DRAWS, GRADIENT, Evidence
from pipeline.metrics.probe import SAME_ANSWER
from pipeline.threats import CLEAN


def gradients(evidence: Evidence) -> Iterator[Check]:
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
        sentence=f"A step along its sign raises the loss of {points(ascent)}; one along a random "
        f"sign, of {points(random)}, which is {100 * (ascent - random):.1f} points less. Its "
        "cosine to differences of the true loss is "
        f"{float(np.nanmean(probe['cosine'][correct])):.2f} of what those can show.",
    )


def support(evidence: Evidence) -> Iterator[Check]:
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
        sentence=f"In layer {layer.removeprefix('support_')}, the lowest of all, "
        f"{100 * shares[layer]:.1f} % of them do.",
    )


def answers(evidence: Evidence) -> Iterator[Check]:
    """AutoAttack's flags: random answers need EOT, and logits must be logits."""
    probe = evidence.probe
    if not probe:
        return
    question = "Are random answers met with averaged gradients? (EOT)"
    differs = float(probe["repeat_difference"].max())
    changes = float(probe["repeat_changes"].mean())
    is_random = evidence.is_random
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
        pass_at=SAME_ANSWER,
        fail_at=SAME_ANSWER,
        counted=differs,
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
        yield from gain(
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


def ball(evidence: Evidence) -> Iterator[Check]:
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
