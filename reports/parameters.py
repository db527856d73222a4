"""What the search set: its parameters, their scales, and a trial's values of them."""

from dataclasses import dataclass
from typing import Any

from pipeline.records import TrialRow

SPARSITY_WEIGHT = "strategy.sparsity_weight"
"""The paper's lambda."""
FINITE_DIFFERENCE_STEP = "strategy.finite_difference_step"
"""The paper's h."""
_SYMBOLS = {SPARSITY_WEIGHT: "λ", FINITE_DIFFERENCE_STEP: "h"}
_LONG = {
    SPARSITY_WEIGHT: "λ (weight of the sparsity penalty)",
    FINITE_DIFFERENCE_STEP: "h (finite-difference step, pixel units)",
}
_LOG_SPAN = 20.0
"""Listed values that span more than this factor are shown on a log axis."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A searched parameter: a range, or a list of values."""

    path: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    values: tuple[Any, ...] = ()

    @property
    def symbol(self) -> str:
        """Short name for sentences and table heads."""
        return _SYMBOLS.get(self.path, self.path.rpartition(".")[2].replace("_", " "))

    @property
    def axis_label(self) -> str:
        """Name with its meaning, for an axis."""
        return _LONG.get(self.path, self.symbol)

    @property
    def numeric(self) -> bool:
        """Whether its values lie on a number line."""
        return not self.values or all(is_number(value) for value in self.values)

    @property
    def extent(self) -> str:
        """The range or the values in words."""
        if self.values:
            return ", ".join(number(value) for value in self.values)
        if self.low is None or self.high is None:
            return "range not recorded"
        return f"{number(self.low)} to {number(self.high)}" + (" (log scale)" if self.log else "")


def parameters_of(facts: dict[str, Any]) -> tuple[Parameter, ...]:
    """The searched parameters named in a sweep's facts: lambda, then h, then the others."""
    listed = [_parameter(path, spec) for path, spec in (facts.get("parameters") or {}).items()]
    order = list(_SYMBOLS)
    return tuple(sorted(listed, key=lambda p: order.index(p.path) if p.path in order else 99))


def value_of(row: TrialRow, path: str) -> Any:
    """A trial's value at a dotted path: what the search set, else its configuration's."""
    if path in row.parameters:
        return row.parameters[path]
    value: Any = row.config
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def section(config: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of a configuration, such as `training`; empty where it has none."""
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def axis_of(parameters: tuple[Parameter, ...]) -> Parameter | None:
    """The parameter that curves are drawn against: lambda, else the first numeric one."""
    return next((parameter for parameter in parameters if parameter.numeric), None)


def is_number(value: Any) -> bool:
    """Whether the value is a number and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: Any) -> str:
    """Up to three significant digits, without needless zeros; other values as text."""
    return f"{value:.3g}" if is_number(value) else str(value)


def _parameter(path: str, spec: Any) -> Parameter:
    spec = spec if isinstance(spec, dict) else {}
    values = tuple(spec.get("values") or ())
    log = bool(spec.get("log"))
    positive = [value for value in values if is_number(value) and value > 0]
    if len(positive) > 1 and "log" not in spec:
        log = max(positive) / min(positive) > _LOG_SPAN
    return Parameter(path=path, low=spec.get("low"), high=spec.get("high"), log=log, values=values)
