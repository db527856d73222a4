"""Attacks: (oracle, images, labels, epsilon, config) -> images. One file and one line each."""

from typing import Annotated

from pydantic import Field

from pipeline.attacks.apgd import APGDConfig, apgd
from pipeline.attacks.ball import Attack, AttackFunction, bounded
from pipeline.attacks.draws import GlobalDraws, SampleDraws
from pipeline.attacks.fab import FABConfig, fab
from pipeline.attacks.fgsm import FGSMConfig, fgsm
from pipeline.attacks.losses import LOSSES
from pipeline.attacks.noise import NoiseConfig, noise
from pipeline.attacks.oracle import Classifier, Oracle
from pipeline.attacks.pgd import PGDConfig, pgd
from pipeline.attacks.rfgsm import RFGSMConfig, rfgsm
from pipeline.attacks.sa_pgd import SAPGDConfig, sa_pgd
from pipeline.attacks.square import SquareConfig, square

AttackConfig = Annotated[
    FGSMConfig
    | RFGSMConfig
    | PGDConfig
    | APGDConfig
    | SAPGDConfig
    | FABConfig
    | SquareConfig
    | NoiseConfig,
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
}
WITHOUT_GRADIENT = ("square", "noise")
"""They follow no gradient: through every oracle they would be the same."""


def build_attack(config: AttackConfig, epsilon: float) -> Attack:
    """The attack (oracle, images, labels) -> images, held to the ball and the box."""
    return bounded(ATTACKS[config.method], config, epsilon)


__all__ = [
    "ATTACKS",
    "LOSSES",
    "WITHOUT_GRADIENT",
    "APGDConfig",
    "Attack",
    "AttackConfig",
    "Classifier",
    "FABConfig",
    "FGSMConfig",
    "GlobalDraws",
    "NoiseConfig",
    "Oracle",
    "PGDConfig",
    "RFGSMConfig",
    "SAPGDConfig",
    "SampleDraws",
    "SquareConfig",
    "build_attack",
]
