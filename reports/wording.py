"""Numbers and names as the reader sees them; percent exists here and in what uses it."""

import math
from typing import Any

from reports.parameters import Parameter, number, value_of
from reports.study import TrialResult
from reports.unions import Accuracy

NBSP = "\u00a0"
ABSENT = "not recorded"
METHOD_NAMES = {
    "vanilla": "no defence",
    "at": "adversarial training (AT)",
    "rat": "regularised adversarial training (RAT)",
    "gr": "gradient regularisation (GR)",
    "sr": "sparsity regularisation (SR)",
    "sr_star": "sparsity regularisation with adversarial training (SR*)",
}
_SHORT = {"vanilla": "no defence", "sr_star": "SR*"}


def percent(value: float) -> str:
    """A fraction as a percentage with one decimal."""
    return f"{100 * value:.1f}{NBSP}%" if math.isfinite(value) else "n/a"


def points(value: float) -> str:
    """A difference of fractions in percentage points, without its sign."""
    return f"{abs(100 * value):.1f}"


def signed_points(value: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """Two fractions as a range in percent, without the sign."""
    return f"{100 * low:.1f}–{100 * high:.1f}".replace("-", "−")


def with_interval(accuracy: Accuracy | None) -> str:
    """Percentage and 95 % interval, for a sentence."""
    if accuracy is None:
        return "an incomplete number of images"
    return f"{percent(accuracy.value)} ({interval(*accuracy.interval)})"


def radius(epsilon: Any) -> str:
    """An attack radius as a fraction of 255 where it is one, else in pixel units."""
    try:
        value = float(epsilon)
    except (TypeError, ValueError):
        return ABSENT
    steps = value * 255
    if abs(steps - round(steps)) < 1e-3:
        return f"{round(steps)}/255"
    return f"{value:.3g}"


def duration(seconds: Any) -> str:
    """Seconds in the unit a reader would choose."""
    try:
        value = float(seconds)
    except (TypeError, ValueError):
        return ABSENT
    if value < 90:
        return f"{value:.0f}{NBSP}s"
    if value < 5400:
        return f"{value / 60:.{int(value < 600)}f}{NBSP}min"
    return f"{value / 3600:.1f}{NBSP}h"


def p_value(value: float) -> str:
    """A p-value for a sentence."""
    return f"p{NBSP}<{NBSP}0.001" if value < 0.001 else f"p{NBSP}={NBSP}{value:.2g}"


def short_method(method: str) -> str:
    """The abbreviation used in figures and tables."""
    return _SHORT.get(method, method.upper())


def setting(trial: TrialResult, parameters: tuple[Parameter, ...]) -> str:
    """A trial's searched parameters, such as `λ = 0.05, h = 0.01`."""
    pairs = [(p.symbol, value_of(trial.row, p.path)) for p in parameters]
    return ", ".join(
        f"{symbol}{NBSP}={NBSP}{number(value)}" for symbol, value in pairs if value is not None
    )
