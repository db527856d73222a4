"""Random numbers for attacks: a sample's own do not depend on who shares its batch."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131
_MIX_1, _MIX_2 = -4658895280553007687, -7723592293110705685
"""Constants of SplitMix64 (Steele et al., 2014), as signed 64-bit integers."""
_BITS = 24
"""Of each number: as many as float32 holds, so that every dtype draws the same."""


class Draws(Protocol):
    """Where an attack's random numbers come from."""

    def uniform(self, like: Tensor, low: float, high: float) -> Tensor:
        """Uniform numbers in [low, high), shaped like `like`, (B, ...), for each sample its own."""
        ...

    def signs(self, like: Tensor) -> Tensor:
        """-1 or 1, shaped like `like`, for each sample its own."""
        ...

    def shared(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """Uniform numbers in [0, 1) that all samples share, of any shape."""
        ...

    def narrowed(self, keep: Tensor) -> "Draws":
        """The draws of some of the samples, given by mask or positions."""
        ...


class GlobalDraws:
    """torch's global generator: for training, where batches are random anyway."""

    def uniform(self, like: Tensor, low: float, high: float) -> Tensor:
        """Uniform numbers."""
        return torch.empty_like(like).uniform_(low, high)

    def signs(self, like: Tensor) -> Tensor:
        """Signs of normal numbers, as torchattacks draws them."""
        return torch.randn_like(like).sign()

    def shared(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """Uniform numbers of any shape."""
        return torch.rand(tuple(shape), dtype=like.dtype, device=like.device)

    def narrowed(self, keep: Tensor) -> "GlobalDraws":
        """There is one generator for all."""
        return self


class SampleDraws:
    """Counter-based numbers (SplitMix64) from a seed a sample, the same on every device."""

    def __init__(self, seeds: Tensor, shared_seed: int, counter: int = 0) -> None:
        """Start the streams.

        Args:
            seeds: int64, shape (B,), one a sample.
            shared_seed: Of the numbers that all samples share.
            counter: Numbers a stream has given already.
        """
        self._seeds, self._shared_seed, self._counter = seeds, shared_seed, counter

    def uniform(self, like: Tensor, low: float, high: float) -> Tensor:
        """Uniform numbers from each sample's own stream."""
        size = like[0].numel()
        numbers = self._next(self._seeds.to(like.device), size).to(like.dtype)
        return low + (high - low) * numbers.view(like.shape)

    def signs(self, like: Tensor) -> Tensor:
        """-1 where the stream is below one half, else 1."""
        return torch.where(self.uniform(like, 0.0, 1.0) < 0.5, -1.0, 1.0).to(like.dtype)

    def shared(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """Uniform numbers from the stream that all samples share."""
        seed = torch.tensor([self._shared_seed], device=like.device)
        numbers = self._next(seed, torch.Size(shape).numel())
        return numbers.to(like.dtype).view(tuple(shape))

    def narrowed(self, keep: Tensor) -> "SampleDraws":
        """The same streams for some of the samples, from where they are."""
        kept = self._seeds.to(keep.device)[keep]
        return SampleDraws(kept, self._shared_seed, self._counter)

    def _next(self, seeds: Tensor, count: int) -> Tensor:
        """The next `count` numbers in [0, 1) of each seed's stream, (len(seeds), count)."""
        positions = torch.arange(1, count + 1, device=seeds.device) + self._counter
        self._counter += count
        state = seeds.unsqueeze(1) + positions * _GOLDEN
        state = (state ^ _shifted(state, 30)) * _MIX_1
        state = (state ^ _shifted(state, 27)) * _MIX_2
        state = state ^ _shifted(state, 31)
        return _shifted(state, 64 - _BITS).double() * 2.0**-_BITS


def _shifted(value: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; torch's own keeps the sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
