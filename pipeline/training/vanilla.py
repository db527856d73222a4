"""Plain training: the network without a defence."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from pipeline.attacks import IMAGES, Domain
from pipeline.training.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class VanillaConfig:
    """No settings."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Literal["vanilla"]


def vanilla(config: VanillaConfig, domain: Domain = IMAGES) -> Strategy:
    """Nothing is perturbed, penalised or projected."""
    return Strategy()
