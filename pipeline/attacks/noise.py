"""Random noise in the L-infinity ball: the control every gradient attack must beat."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.attacks.ball import Ball
from pipeline.attacks.oracle import Oracle
from pipeline.config_types import Count, Epsilon
from pipeline.logits import margin


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """Worst of some random draws. Table 4's numbers are the worst of 4."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    gradient_steps: ClassVar[int] = 0

    method: Literal["noise"] = "noise"
    num_draws: Count = 4
    """Draws, of which the worst counts."""
    distribution: Literal["uniform", "corners"] = "uniform"
    """`corners` moves every pixel by epsilon, up or down."""
    epsilon: Epsilon | None = None
    """Radius; omitted, the evaluation's."""


def noise(
    oracle: Oracle, images: Tensor, labels: Tensor, ball: Ball, config: NoiseConfig
) -> Tensor:
    """For each image the draw with the largest margin loss, out of `config.num_draws`."""
    worst = torch.full((len(images),), -torch.inf, dtype=images.dtype, device=images.device)
    result = images.clone()
    for _ in range(config.num_draws):
        if config.distribution == "corners":
            moved = ball.radius * oracle.draws.signs(images)
        else:
            moved = oracle.draws.uniform(images, -ball.radius, ball.radius)
        drawn = ball.clip(images + moved)
        value = margin(oracle.logits(drawn), labels)
        worse = value > worst
        worst = torch.where(worse, value, worst)
        result[worse] = drawn[worse]
    return result
