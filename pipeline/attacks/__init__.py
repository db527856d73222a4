"""Attacks: (oracle, images, labels, budget, config) -> images. One file and one line each."""

from typing import Annotated

from pydantic import Field

from pipeline.attacks.apgd import APGDConfig, apgd
from pipeline.attacks.ball import Attack, AttackFunction, Ball, Budget, bounded
from pipeline.attacks.draws import GlobalDraws, SampleDraws
from pipeline.attacks.fab import FABConfig, fab
from pipeline.attacks.fgsm import FGSMConfig, fgsm
from pipeline.attacks.flip import FlipConfig, flip
from pipeline.attacks.flip_noise import FlipNoiseConfig, flip_noise
from pipeline.attacks.flips import Flips
from pipeline.attacks.losses import LOSSES
from pipeline.attacks.noise import NoiseConfig, noise
from pipeline.attacks.nothing import NothingConfig, nothing
from pipeline.attacks.oracle import Classifier, Oracle
from pipeline.attacks.pgd import PGDConfig, pgd
from pipeline.attacks.rfgsm import RFGSMConfig, rfgsm
from pipeline.attacks.sa_pgd import SAPGDConfig, sa_pgd
from pipeline.attacks.sda import SDAConfig, sda
from pipeline.attacks.square import SquareConfig, square
from pipeline.attacks.threat import IMAGES, PIXELS, Domain, Threat, ThreatName

AttackConfig = Annotated[
    FGSMConfig
    | RFGSMConfig
    | PGDConfig
    | APGDConfig
    | SAPGDConfig
    | FABConfig
    | SquareConfig
    | NoiseConfig
    | FlipConfig
    | SDAConfig
    | FlipNoiseConfig
    | NothingConfig,
    Field(discriminator="method"),
]
ATTACKS: dict[str, AttackFunction] = {
    "fgsm": fgsm,
    "rfgsm": rfgsm,
    "pgd": pgd,
    "apgd": apgd,
    "sa_pgd": sa_pgd,
    "fab": fab,
    "square": square,
    "noise": noise,
    "flip": flip,
    "sda": sda,
    "flip_noise": flip_noise,
    "nothing": nothing,
}
WITHOUT_GRADIENT = ("square", "noise", "flip_noise", "nothing")
"""They follow no gradient: through every oracle they would be the same."""


FLIPPING = ("flip", "sda", "flip_noise")
"""They turn over entries of binary frames; all others move within a ball."""


def build_attack(config: AttackConfig, budget: Budget | float) -> Attack:
    """The attack (oracle, images, labels) -> images, held to its budget.

    Args:
        config: Which attack.
        budget: What it is allowed; a number is the radius of images' ball.
    """
    held = Ball(budget) if isinstance(budget, float | int) else budget
    return bounded(ATTACKS[config.method], config, held)


__all__ = [
    "ATTACKS",
    "FLIPPING",
    "IMAGES",
    "LOSSES",
    "PIXELS",
    "WITHOUT_GRADIENT",
    "APGDConfig",
    "Attack",
    "AttackConfig",
    "Ball",
    "Budget",
    "Classifier",
    "Domain",
    "FABConfig",
    "FGSMConfig",
    "FlipConfig",
    "FlipNoiseConfig",
    "Flips",
    "GlobalDraws",
    "NoiseConfig",
    "NothingConfig",
    "Oracle",
    "PGDConfig",
    "RFGSMConfig",
    "SAPGDConfig",
    "SDAConfig",
    "SampleDraws",
    "SquareConfig",
    "Threat",
    "ThreatName",
    "build_attack",
]
