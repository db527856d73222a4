"""Random flips of binary event frames: the control every gradient attack must beat."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.attacks.flips import Flips
from pipeline.attacks.oracle import Oracle
from pipeline.config_types import Count
from pipeline.logits import margin


@dataclass(frozen=True, kw_only=True)
class FlipNoiseConfig:
    """Worst of some random sets of flips: the control every gradient attack must beat."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    gradient_steps: ClassVar[int] = 0

    method: Literal["flip_noise"] = "flip_noise"
    flips: Count
    """Entries a sample that are turned over, over all time steps and polarities."""
    num_draws: Count = 4
    """Draws, of which the worst counts."""


def flip_noise(
    oracle: Oracle, samples: Tensor, labels: Tensor, budget: Flips, config: FlipNoiseConfig
) -> Tensor:
    """For each sample the draw with the largest margin loss, out of `config.num_draws`."""
    start = budget.nearest(samples)
    worst = torch.full((len(samples),), -torch.inf, dtype=samples.dtype, device=samples.device)
    result = start.clone()
    for _ in range(config.num_draws):
        numbers = oracle.draws.uniform(samples, 0.0, 1.0).flatten(1)
        chosen = numbers.topk(min(budget.count, numbers.shape[1]), dim=1).indices
        mask = torch.zeros_like(numbers, dtype=torch.bool).scatter_(1, chosen, value=True)
        drawn = torch.where(mask.view_as(start), 1.0 - start, start)
        value = margin(oracle.logits(drawn), labels)
        worse = value > worst
        worst = torch.where(worse, value, worst)
        result[worse] = drawn[worse]
    return result
