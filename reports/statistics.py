"""Intervals and paired tests on per-sample outcomes: what may be called a difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

import numpy as np
from numpy.typing import NDArray

Outcomes = NDArray[np.bool_]
"""One entry per sample: True where the sample is classified correctly."""

Z_95 = 1.959963984540054


def wilson_interval(successes: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a proportion; (0, 1), nothing known, where total is 0.

    Implements Eq. (4) of Wilson (1927).
    """
    if total == 0:
        return 0.0, 1.0
    share = successes / total
    scale = 1 + z**2 / total
    centre = (share + z**2 / (2 * total)) / scale
    half = z * sqrt(share * (1 - share) / total + z**2 / (4 * total**2)) / scale
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == total else centre + half
    return low, high


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value of the discordant pairs under a fair coin.

    Args:
        only_first: Samples that only the first network gets right.
        only_second: Samples that only the second network gets right.
    """
    discordant = only_first + only_second
    smaller = min(only_first, only_second)
    tail = sum(comb(discordant, k) for k in range(smaller + 1))
    return min(1.0, float(2 * tail / 2**discordant))


def bootstrap_difference(
    first: Outcomes, second: Outcomes, *, num_resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of mean(first) - mean(second), samples resampled in pairs.

    A pair contributes +1, -1 or 0, so a resample is one multinomial draw of three counts.
    """
    total = len(first)
    if total == 0:
        return -1.0, 1.0
    gains = int((first & ~second).sum())
    losses = int((second & ~first).sum())
    shares = np.array([gains, losses, total - gains - losses]) / total
    counts = np.random.default_rng(seed).multinomial(total, shares, size=num_resamples)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / total, [0.025, 0.975])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: p-values that account for the number of comparisons."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two networks judged on the same samples; fractions, first minus second."""

    difference: float
    low: float
    high: float
    p_value: float
    only_first: int
    only_second: int
    total: int


def compare(first: Outcomes, second: Outcomes) -> Comparison:
    """Difference with its paired-bootstrap interval and exact McNemar p-value."""
    if len(first) != len(second):
        raise ValueError(f"paired outcomes differ in length: {len(first)} and {len(second)}")
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    low, high = bootstrap_difference(first, second)
    return Comparison(
        difference=(only_first - only_second) / max(len(first), 1),
        low=low,
        high=high,
        p_value=mcnemar_exact(only_first, only_second),
        only_first=only_first,
        only_second=only_second,
        total=len(first),
    )
