"""The Pareto front of two maximised objectives, its knee, and the best point above a floor."""

from collections.abc import Sequence

from pipeline.search.front import pareto_front as non_dominated

Point = tuple[float, float]
"""Two objectives, both to be maximised: clean and robust accuracy, fractions."""


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other dominates, by rising first objective.

    Equal points do not dominate each other: all of them are on the front.
    """
    kept = non_dominated(points, ("maximize", "maximize"))
    return sorted(kept, key=lambda i: (points[i][0], -points[i][1], i))


def knee(points: Sequence[Point], front: Sequence[int]) -> int | None:
    """Index of the front's point farthest above the line between its ends.

    Both objectives are scaled to the front's extent first. None where the front has fewer
    than three different points or none above that line.
    """
    if len({points[i] for i in front}) < 3:
        return None
    first, last = points[front[0]], points[front[-1]]
    width, height = last[0] - first[0], first[1] - last[1]

    def excess(index: int) -> float:
        x, y = points[index]
        return (x - first[0]) / width + (y - last[1]) / height - 1.0

    best = max(front, key=excess)
    return best if excess(best) > 1e-9 else None


def best_above(points: Sequence[Point], floor: float | None) -> int | None:
    """Index of the highest second objective where the first is at least `floor`.

    Ties go to the higher first objective, then to the earlier point.
    """
    allowed = [i for i, point in enumerate(points) if floor is None or point[0] >= floor]
    return max(allowed, key=lambda i: (points[i][1], points[i][0], -i), default=None)
