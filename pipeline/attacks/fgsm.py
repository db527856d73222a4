"""Fast gradient sign method (Goodfellow et al., 2015)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from pipeline.attacks.ball import Ball, ascent_sign
from pipeline.attacks.losses import LOSSES, LossName
from pipeline.attacks.oracle import Oracle
from pipeline.config_types import Epsilon


@dataclass(frozen=True, kw_only=True)
class FGSMConfig:
    """One step of length epsilon along the gradient's sign."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    gradient_steps: ClassVar[int] = 1

    method: Literal["fgsm"] = "fgsm"
    loss: LossName = "cross_entropy"
    """What is raised."""
    epsilon: Epsilon | None = None
    """Radius; omitted, the evaluation's."""


def fgsm(oracle: Oracle, images: Tensor, labels: Tensor, ball: Ball, config: FGSMConfig) -> Tensor:
    """Images x + epsilon * sign(grad), clipped to the box."""
    direction, _ = oracle.gradient(images, labels, LOSSES[config.loss])
    return ball.clip(images + ball.radius * ascent_sign(direction))
