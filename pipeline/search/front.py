"""Which trials no other trial beats in every objective."""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.records import TrialRow


def pareto_front(values: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """Positions of the points that no other point dominates, in their order.

    Args:
        values: One row a point, one value an objective.
        directions: `maximize` or `minimize`, one an objective.
    """
    signs = [1.0 if direction == "maximize" else -1.0 for direction in directions]
    points = [tuple(sign * value for sign, value in zip(signs, row, strict=True)) for row in values]

    def dominated(point: tuple[float, ...]) -> bool:
        return any(
            other != point and all(o >= p for o, p in zip(other, point, strict=True))
            for other in points
        )

    return [index for index, point in enumerate(points) if not dominated(point)]


def front_rows(rows: Iterable[TrialRow], directions: Mapping[str, str]) -> list[TrialRow]:
    """The feasible trials that no other feasible one dominates; what was not judged is left out.

    Args:
        rows: Trials.
        directions: `maximize` or `minimize`, by metric.
    """
    judged = [row for row in rows if row.feasible and directions.keys() <= row.metrics.keys()]
    points = [[row.metrics[name] for name in directions] for row in judged]
    return [judged[index] for index in pareto_front(points, list(directions.values()))]
