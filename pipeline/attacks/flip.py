"""Flips of binary event frames along the gradient, within an L0 budget."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.attacks.flips import Flips, flip_gain
from pipeline.attacks.losses import LOSSES, LossName
from pipeline.attacks.oracle import Oracle
from pipeline.config_types import Count


@dataclass(frozen=True, kw_only=True)
class FlipConfig:
    """Turns over, step by step, the entries with the steepest gain of the loss."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Literal["flip"] = "flip"
    flips: Count
    """Entries a sample that may be turned over, over all time steps and polarities."""
    num_steps: Count = 10
    """Gradient steps; each turns over its share of the budget."""
    loss: LossName = "cross_entropy"
    """What is raised."""

    @property
    def gradient_steps(self) -> int:
        """Gradients that one sample may cost."""
        return min(self.num_steps, self.flips)


def flip(
    oracle: Oracle, samples: Tensor, labels: Tensor, budget: Flips, config: FlipConfig
) -> Tensor:
    """Binary frames; a sample that fools the oracle is not attacked further.

    Args:
        oracle: Of the victim.
        samples: Event frames, shape (B, T, C, H, W).
        labels: Shape (B,).
        budget: How many flips are allowed.
        config: See `FlipConfig`.
    """
    loss, steps = LOSSES[config.loss], config.gradient_steps
    result = budget.nearest(samples)
    turned = torch.zeros_like(result, dtype=torch.bool)
    active = torch.arange(len(samples), device=samples.device)
    for step in range(steps):
        direction, logits = oracle.gradient(result[active], labels[active], loss)
        standing = logits.argmax(1) == labels[active]
        active, direction = active[standing], direction[standing]
        oracle = oracle.narrowed(standing)
        if len(active) == 0:
            break
        share = budget.count * (step + 1) // steps - budget.count * step // steps
        gain = flip_gain(result[active], direction, turned[active])
        best = gain.topk(min(share, gain.shape[1]), dim=1)
        chosen = torch.zeros_like(gain, dtype=torch.bool).scatter_(1, best.indices, best.values > 0)
        turned[active] |= chosen.view_as(direction)
        result[active] = torch.where(chosen.view_as(direction), 1 - result[active], result[active])
    return result
