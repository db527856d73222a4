"""Binary event frames and the L0 budget of their attacks: so many entries are turned over."""

from dataclasses import dataclass

import torch
from torch import Tensor

THRESHOLD = 0.5
"""A count of at least this much is an event; resized frames have counts between 0 and 1."""


@dataclass(frozen=True)
class Flips:
    """Frames of zeros and ones, of which at most `count` entries a sample are turned over."""

    count: int

    def nearest(self, samples: Tensor) -> Tensor:
        """The samples as zeros and ones."""
        return (samples >= THRESHOLD).to(samples.dtype)

    def hold(self, adversarial: Tensor, samples: Tensor) -> Tensor:
        """Zeros and ones; flips beyond the budget are taken back, the last entries' first."""
        start = self.nearest(samples)
        turned = self.nearest(adversarial) != start
        kept = turned & (turned.flatten(1).cumsum(1) <= self.count).view_as(turned)
        return torch.where(kept, 1.0 - start, start)

    def distance(self, adversarial: Tensor, samples: Tensor) -> Tensor:
        """Entries turned over, shape (B,)."""
        turned = self.nearest(adversarial) != self.nearest(samples)
        return turned.flatten(1).sum(1).double()


def flip_gain(binary: Tensor, direction: Tensor, turned: Tensor) -> Tensor:
    """First-order gain of the loss from each entry's flip, (B, entries); turned ones have none."""
    if not bool(torch.isfinite(direction).all()):
        raise ArithmeticError("the attack met a gradient that is NaN or infinite")
    return ((1.0 - 2.0 * binary) * direction).masked_fill(turned, -torch.inf).flatten(1)
