"""How certain a Pareto front is: a paired bootstrap over samples, all trials at once.

Each resample draws sample positions once and applies them to every trial, so that what trials
have in common (easy and hard images) cancels. It covers the choice of images, not another
training.

A front is a maximum over noisy points, so it looks better than it is, and a resampled one, the
maximum of points with noise added once more, better again. What the second step adds estimates
what the first did: the hypervolume's bias is the resamples' mean less the observed value, and
its interval is the basic (reflected) one, [2 h - q(97.5 %), 2 h - q(2.5 %)], which takes the bias
off to first order (Davison & Hinkley, 1997, section 5.2). Quantiles of resampled fronts themselves
are not corrected.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.fronts import Point
from reports.statistics import Outcomes

NUM_RESAMPLES = 2000
_CHUNK = 200
"""Resamples at a time: what bounds the memory."""
Counts = NDArray[np.int64]
"""Samples that a trial gets right in each resample, shape (resamples, trials)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrontStatistics:
    """What resampling the images says about a front; accuracies are fractions."""

    num_samples: int
    num_resamples: int
    probabilities: tuple[float, ...]
    """By trial: share of resamples in which no other trial beats it in both objectives."""
    hypervolume: float
    """Area that the observed front dominates, from (0, 0)."""
    bias: float
    """How much of that is the luck of the best of many, as the bootstrap estimates it."""
    low: float
    """Lower end of the basic 95 % interval of the hypervolume."""
    high: float
    clean: tuple[float, ...]
    """Clean accuracies at which resampled fronts were looked at, rising."""
    attained_low: tuple[float, ...]
    """Robust accuracy that 90 % of the resampled fronts have at that clean accuracy or above."""
    attained_high: tuple[float, ...]
    """Robust accuracy that 10 % of them have."""


def front_statistics(
    clean: Sequence[Outcomes],
    robust: Sequence[Outcomes],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    grid: int = 121,
) -> FrontStatistics | None:
    """Front probabilities, hypervolume and attainment by a paired bootstrap.

    Args:
        clean: One entry a trial: which samples it classifies correctly without attack.
        robust: The same under attack; all of one length, the samples in one order.
        num_resamples: Sets of samples drawn with replacement.
        seed: Of the draws: equal input gives equal output.
        grid: Clean accuracies to look at, from the lowest to the highest resampled one.

    Returns:
        None without trials or samples.

    Raises:
        ValueError: If the outcomes differ in length.
    """
    lengths = {len(outcomes) for outcomes in (*clean, *robust)}
    if len(lengths) > 1:
        raise ValueError(f"paired outcomes differ in length: {sorted(lengths)}")
    total = next(iter(lengths), 0)
    if total == 0:
        return None
    x, y = resampled_counts([*clean, *robust], num_resamples, seed)
    observed = [
        np.array([[int(o.sum()) for o in part]], dtype=np.int64) for part in (clean, robust)
    ]
    area = float(hypervolumes(*observed)[0]) / total**2
    areas = hypervolumes(x, y) / total**2
    q_low, q_high = np.quantile(areas, [0.025, 0.975])
    members = on_front(x, y)
    edges = np.linspace(x.min(), x.max(), grid)
    attained = _attained(x, y, np.asarray(members.any(axis=0)), edges) / total
    return FrontStatistics(
        num_samples=total,
        num_resamples=num_resamples,
        probabilities=tuple(float(share) for share in members.mean(axis=0)),
        hypervolume=area,
        bias=float(areas.mean()) - area,
        low=float(np.clip(2 * area - q_high, 0, 1)),
        high=float(np.clip(2 * area - q_low, 0, 1)),
        clean=tuple(float(edge) / total for edge in edges),
        attained_low=tuple(float(value) for value in attained[0]),
        attained_high=tuple(float(value) for value in attained[1]),
    )


def resampled_counts(
    outcomes: Sequence[Outcomes], num_resamples: int, seed: int
) -> tuple[Counts, Counts]:
    """Counts of the first and of the second half of the outcomes, on the same resamples."""
    stacked = np.stack([np.asarray(o, dtype=np.float64) for o in outcomes], axis=1)
    total, trials = len(stacked), len(outcomes) // 2
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, num_resamples, _CHUNK):
        size = min(_CHUNK, num_resamples - start)
        drawn = rng.integers(0, total, (size, total)) + total * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * total).reshape(size, total)
        parts.append(np.rint(times @ stacked).astype(np.int64))
    counts = np.concatenate(parts)
    return counts[:, :trials], counts[:, trials:]


def on_front(x: Counts, y: Counts) -> NDArray[np.bool_]:
    """By resample and trial: nothing dominates it. Equal points share the front."""
    order, x, y = _sorted(x, y)
    # From right to left, a point is dominated if what comes before, but for its equals, is as high.
    first = np.ones(x.shape, dtype=bool)
    first[:, 1:] = (x[:, 1:] != x[:, :-1]) | (y[:, 1:] != y[:, :-1])
    free = first & (y > _before(y))
    group = np.maximum.accumulate(np.where(first, np.arange(x.shape[1]), 0), axis=1)
    result = np.empty_like(free)
    np.put_along_axis(result, order, np.take_along_axis(free, group, axis=1), axis=1)
    return result


def hypervolumes(x: NDArray[np.generic], y: NDArray[np.generic]) -> NDArray[np.float64]:
    """By resample: area between (0, 0) and the front of its points."""
    _, x, y = _sorted(x, y)
    rises = np.maximum(y - np.maximum(_before(y), 0), 0)
    return np.asarray((x * rises).sum(axis=1), dtype=np.float64)


def hypervolume(points: Sequence[Point]) -> float:
    """Area between (0, 0) and the front of some points, a share of the unit square."""
    if not points:
        return 0.0
    x, y = (np.array([values], dtype=np.float64) for values in zip(*points, strict=True))
    return float(hypervolumes(x, y)[0])


def _sorted(x: NDArray, y: NDArray) -> tuple[NDArray[np.intp], NDArray, NDArray]:  # type: ignore[type-arg]
    """Points by falling x, then falling y."""
    order = np.lexsort((-y, -x), axis=1)
    return order, np.take_along_axis(x, order, axis=1), np.take_along_axis(y, order, axis=1)


def _before(y: NDArray) -> NDArray:  # type: ignore[type-arg]
    """Highest value before each; -1 before the first."""
    highest = np.maximum.accumulate(y, axis=1)
    start = np.full((len(y), 1), -1, dtype=y.dtype)
    return np.concatenate([start, highest[:, :-1]], axis=1)


def _attained(
    x: Counts, y: Counts, ever: NDArray[np.bool_], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """10 % and 90 % quantile over resamples of the highest y at or right of each edge."""
    x, y = x[:, ever], y[:, ever]
    best = [np.where(x >= edge, y, 0).max(axis=1) for edge in edges]
    found = np.quantile(np.stack(best), [0.1, 0.9], axis=1, method="inverted_cdf")
    return np.asarray(found, dtype=np.float64)
