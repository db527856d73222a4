"""The checks of the trust audit, in the order they are shown."""

from collections.abc import Callable, Iterator

from pipeline.audit import attack_checks as attacks
from pipeline.audit import network_checks as network
from pipeline.audit.check import Check
from pipeline.audit.evidence import Evidence

CHECKS: tuple[Callable[[Evidence], Iterator[Check]], ...] = (
    attacks.headline,
    attacks.steps,
    attacks.surrogates,
    attacks.black_box,
    attacks.radii,
    attacks.convergence,
    attacks.losses,
    network.gradients,
    network.support,
    network.answers,
    network.ball,
)
