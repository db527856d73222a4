"""Square Attack (Andriushchenko et al., 2020): random search that sees logits alone."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.attacks.ball import Ball
from pipeline.attacks.oracle import Oracle
from pipeline.config_types import Count, Epsilon, Unit
from pipeline.logits import margin

SCHEDULE = ((10, 1), (50, 2), (200, 4), (500, 8), (1000, 16), (2000, 32), (4000, 64), (6000, 128),
            (8000, 256))  # fmt: skip
"""Up to this query (of 10,000) the squares' share of the image is divided by that much."""


@dataclass(frozen=True, kw_only=True)
class SquareConfig:
    """No gradient is followed, so a network whose gradients mislead cannot hide from it."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    gradient_steps: ClassVar[int] = 0

    method: Literal["square"] = "square"
    num_queries: Count = 5000
    """Forward passes a sample may cost, after the first."""
    share: Unit = 0.8
    """Share of the image that the first squares cover."""
    num_restarts: Count = 1
    """Further tries for what still stands, each from a start of its own."""
    epsilon: Epsilon | None = None
    """Radius; omitted, the evaluation's."""


def side(query: int, config: SquareConfig, height: int, width: int) -> int:
    """Side of the squares at a query, in pixels."""
    scaled = int(query / config.num_queries * 10_000)
    divisor = next((divisor for last, divisor in SCHEDULE if scaled <= last), 512)
    return min(max(round(math.sqrt(config.share / divisor * height * width)), 1), height, width)


def square(
    oracle: Oracle, images: Tensor, labels: Tensor, ball: Ball, config: SquareConfig
) -> Tensor:
    """Images after random squares of +-epsilon, each kept where the margin loss did not fall.

    Event frames are images with T * C channels: a square has a colour of its own in each.
    """
    height, width = images.shape[-2:]
    stripes = oracle.draws.uniform(images[..., :1, :], -1.0, 1.0).sign()
    result = ball.clip(images + ball.radius * stripes)
    loss = margin(oracle.logits(result), labels)
    active = torch.arange(len(images), device=images.device)
    for query in range(config.num_queries):
        # The authors' code counts a tie as broken here; for the victim a tie is decided by argmax.
        standing = loss[active] < 0
        if not bool(standing.all()):
            active, oracle = active[standing], oracle.narrowed(standing)
        if len(active) == 0:
            break
        edge = side(query, config, height, width)
        # As the authors draw them: one place and colour for all samples, never the last place.
        top = int((height - edge) * oracle.draws.shared(images, [1]))
        left = int((width - edge) * oracle.draws.shared(images, [1]))
        colour = (2.0 * oracle.draws.shared(images, [*images.shape[1:-2], 1, 1]) - 1.0).sign()
        tried, around = result[active], images[active]
        tried[..., top : top + edge, left : left + edge] += 2.0 * ball.radius * colour
        tried = ball.clip(tried.clamp(around - ball.radius, around + ball.radius))
        value = margin(oracle.logits(tried), labels[active])
        better = value > loss[active]
        loss[active] = torch.where(better, value, loss[active])
        keep = (better | (value >= 0)).view(-1, *[1] * (images.dim() - 1))
        result[active] = torch.where(keep, tried, result[active])
    return result
