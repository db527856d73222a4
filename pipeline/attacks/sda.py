"""Sparse dynamic attack (Lun et al., CVPR 2025): few flips of binary event frames."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.attacks.flips import Flips, flip_gain
from pipeline.attacks.oracle import Oracle
from pipeline.config_types import Count
from pipeline.logits import margin

AT_ONCE = 64
"""Flips that are tried in one forward pass."""


@dataclass(frozen=True, kw_only=True)
class SDAConfig:
    """Sparse dynamic attack (Lun et al., CVPR 2025), stopped at the budget.

    Generation: of the entries with the largest gradient, ten more each round, those are turned
    over whose flip alone lowers the true margin. Reduction: a binary search for the fewest of
    them, the most effective first, that still fool the oracle.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Literal["sda"] = "sda"
    flips: Count
    """Entries a sample that may be turned over, over all time steps and polarities."""
    num_rounds: Count = 20
    """Rounds of generation; the authors allow 500."""
    growth: Count = 10
    """Candidates that each round tries more than the one before."""

    @property
    def gradient_steps(self) -> int:
        """Gradients that one sample may cost."""
        return self.num_rounds


def sda(
    oracle: Oracle, samples: Tensor, labels: Tensor, budget: Flips, config: SDAConfig
) -> Tensor:
    """Binary frames, sample by sample; see `SDAConfig`."""
    result = budget.nearest(samples)
    for index in range(len(samples)):
        result[index] = _sparse(oracle, index, result[index], labels[index], budget.count, config)
    return result


def _sparse(
    oracle: Oracle, index: int, start: Tensor, label: Tensor, budget: int, config: SDAConfig
) -> Tensor:
    """One sample's frames (T, C, H, W) after generation and reduction."""
    current, turned = start.clone(), torch.zeros_like(start, dtype=torch.bool)
    effect = torch.zeros_like(start).flatten()
    for number in range(config.num_rounds):
        one = torch.tensor([index], device=start.device)
        direction, logits = oracle.narrowed(one).gradient(current[None], label[None], margin)
        before = margin(logits, label[None])[0]
        left = budget - int(turned.sum())
        if before > 0 or left == 0:
            break
        gain = flip_gain(current[None], direction, turned[None])[0]
        found = gain.topk(min((number + 1) * config.growth, len(gain)))
        tried = found.indices[found.values > 0]
        change = _changes(oracle, index, current, label, tried) - before
        helpful = change > 0
        if not bool(helpful.any()):
            # No single flip helps: those of the largest gradient may help together.
            helpful = torch.ones_like(helpful)
        tried, change = tried[helpful], change[helpful]
        kept = change.argsort(descending=True)[:left]
        if len(kept) == 0:
            break
        effect[tried[kept]] = change[kept]
        turned.view(-1)[tried[kept]] = True
        current = torch.where(turned, 1.0 - start, start)
    return _reduced(oracle, index, start, label, turned, effect)


def _changes(oracle: Oracle, index: int, current: Tensor, label: Tensor, tried: Tensor) -> Tensor:
    """The margin loss after each of the flips alone, shape (len(tried),)."""
    values = [current.new_zeros(0)]
    for part in tried.split(AT_ONCE):
        candidates = current.expand(len(part), *current.shape).flatten(1).clone()
        own = candidates.gather(1, part[:, None])
        candidates.scatter_(1, part[:, None], 1.0 - own)
        asked = oracle.narrowed(torch.full_like(part, index))
        logits = asked.logits(candidates.view(-1, *current.shape))
        values.append(margin(logits, label.expand(len(part))))
    return torch.cat(values)


def _reduced(
    oracle: Oracle, index: int, start: Tensor, label: Tensor, turned: Tensor, effect: Tensor
) -> Tensor:
    """The fewest of the flips, the most effective first, that fool the oracle; else all of them."""
    order = effect.masked_fill(~turned.flatten(), -torch.inf).argsort(descending=True)
    asked = oracle.narrowed(torch.tensor([index], device=start.device))

    def first(count: int) -> Tensor:
        mask = torch.zeros_like(turned).view(-1)
        mask[order[:count]] = True
        return torch.where(mask.view_as(turned), 1.0 - start, start)

    def fools(count: int) -> bool:
        return bool(margin(asked.logits(first(count)[None]), label[None])[0] > 0)

    most = int(turned.sum())
    if not fools(most):
        return first(most)
    least = 0
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if fools(middle) else (middle, most)
    return first(most)
