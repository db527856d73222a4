"""What a space searches, counted: the points of a grid, and the number of trials."""

from typing import Any

from pipeline.config import SpaceConfig
from pipeline.search.rules import applies
from pipeline.search.space import grid


def grid_points(space: SpaceConfig) -> list[tuple[str, dict[str, Any]]]:
    """Strategy and values of every grid point, in the order they are handed out."""
    search = space.search
    points = []
    for label in search.strategies:
        used = {path: c for path, c in search.parameters.items() if applies(space, label, path)}
        points += [(label, values) for values in grid(used)]
    return points


def num_searched(space: SpaceConfig) -> int:
    """Trials of the whole sweep besides the baselines."""
    limit = space.search.num_trials
    if not space.search.strategies:
        return 0
    if space.search.sampler != "grid":
        return limit or 0
    points = len(grid_points(space))
    return points if limit is None else min(points, limit)
