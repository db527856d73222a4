"""Mean and standard deviation of equal trainings with different seeds."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Values of equal trainings with different seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """Sample standard deviation over the seeds (n - 1); NaN for one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else float("nan")


def spread(values: Iterable[float | None]) -> Spread | None:
    """The spread of those values that exist; None where none does."""
    known = tuple(value for value in values if value is not None)
    return Spread(values=known) if known else None
