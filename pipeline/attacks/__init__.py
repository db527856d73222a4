"""Attacks: (oracle, images, labels, epsilon, config) -> images. One file and one line each."""

from typing import Annotated

from pydantic import Field

from pipeline.attacks.ball import Attack, AttackFunction, Classifier, bounded
from pipeline.attacks.fgsm import FGSMConfig, fgsm
from pipeline.attacks.losses import LOSSES
from pipeline.attacks.noise import NoiseConfig, noise
from pipeline.attacks.pgd import PGDConfig, pgd
from pipeline.attacks.rfgsm import RFGSMConfig, rfgsm

AttackConfig = Annotated[
    FGSMConfig | RFGSMConfig | PGDConfig | NoiseConfig, Field(discriminator="method")
]
ATTACKS: dict[str, AttackFunction] = {"fgsm": fgsm, "rfgsm": rfgsm, "pgd": pgd, "noise": noise}


def build_attack(config: AttackConfig, epsilon: float) -> Attack:
    """The attack (oracle, images, labels) -> images, held to the ball and the box."""
    return bounded(ATTACKS[config.method], config, epsilon)


__all__ = [
    "ATTACKS",
    "LOSSES",
    "Attack",
    "AttackConfig",
    "Classifier",
    "FGSMConfig",
    "NoiseConfig",
    "PGDConfig",
    "RFGSMConfig",
    "build_attack",
]
