"""Searched parameters: ranges and choices, and the grid they span."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from models.config import FieldError


@dataclass(frozen=True, kw_only=True)
class ParameterConfig:
    """Either `values: [...]`, or `low` and `high`, with `log` or `step` if wanted."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    values: list[float | int | str | bool] | None = None
    """Choices; `low` and `high` then stay out."""
    low: float | None = None
    """Lower end, included."""
    high: float | None = None
    """Upper end, included."""
    log: bool = False
    """Propose on a log scale."""
    step: float | None = None
    """Propose `low`, `low + step`, and so on."""
    integer: bool = False
    """Propose whole numbers."""

    def __post_init__(self) -> None:
        if self.values is not None:
            if self.low is not None or self.high is not None or self.log or self.step is not None:
                raise FieldError("values", "give either values or low and high, not both")
            if not self.values:
                raise FieldError("values", "expected at least one value, got none")
            if len({str(v) for v in self.values}) != len(self.values):
                raise FieldError("values", "a value stands here twice; remove one")
            return
        if self.low is None or self.high is None:
            missing = "low" if self.low is None else "high"
            raise FieldError(missing, "expected values: [...], or both low and high")
        if not self.low < self.high:
            raise FieldError("high", f"expected more than low ({self.low:g}), got {self.high:g}")
        if self.log and self.low <= 0:
            raise FieldError(
                "low",
                f"{self.low:g} cannot be the lower end of a log scale; "
                "use 1e-4, or give 0 as a baseline",
            )
        if self.log and self.step is not None:
            raise FieldError("step", "a log scale takes no step; remove one of the two")
        if self.step is not None and self.step <= 0:
            raise FieldError("step", f"expected a step above 0, got {self.step:g}")
        if self.integer and (self.low % 1 or self.high % 1 or (self.step or 1) % 1):
            raise FieldError("integer", "low, high and step must be whole numbers")

    def points(self) -> list[Any]:
        """The values of a grid: those listed, or those that `step` reaches.

        Raises:
            FieldError: The range is continuous.
        """
        if self.values is not None:
            return list(self.values)
        if self.step is None or self.low is None or self.high is None:
            raise FieldError("values", "a grid needs values: [...], or low, high and step")
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        points = [self.low + index * self.step for index in range(count)]
        return [round(point) for point in points] if self.integer else points

    def examples(self) -> list[tuple[tuple[str | int, ...], Any]]:
        """Values that a check should try, with their places: all listed ones, or both ends."""
        if self.values is not None:
            return [(("values", index), value) for index, value in enumerate(self.values)]
        ends = {"low": self.low, "high": self.high}
        return [((name,), int(end or 0) if self.integer else end) for name, end in ends.items()]


def grid(parameters: dict[str, ParameterConfig]) -> Iterator[dict[str, Any]]:
    """All combinations, the last parameter changing fastest."""
    names = list(parameters)
    for combination in itertools.product(*(parameters[name].points() for name in names)):
        yield dict(zip(names, combination, strict=True))
