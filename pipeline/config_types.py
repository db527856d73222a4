"""Field types that several configs share, with the checks pydantic applies at the border."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field


def _parse_fraction(value: Any) -> Any:
    """The number meant by "8/255"; anything else is passed on for pydantic to judge."""
    if not isinstance(value, str):
        return value
    numerator, slash, denominator = value.partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"expected a number or a fraction such as 8/255, got '{value}'") from None


Fraction = BeforeValidator(_parse_fraction)
Epsilon = Annotated[float, Fraction, Field(ge=0, le=1)]
"""Radius of an L-infinity ball, in pixel units of [0, 1]; YAML may write 8/255."""
StepSize = Annotated[float, Fraction, Field(gt=0, le=2)]
"""Length of one attack step, in pixel units of [0, 1]; YAML may write 2/255."""
Positive = Annotated[float, Fraction, Field(gt=0)]
NonNegative = Annotated[float, Fraction, Field(ge=0)]
Unit = Annotated[float, Fraction, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
Name = Annotated[
    str,
    Field(
        pattern=f"^{NAME_PATTERN.pattern}$",
        description="a name of at most 64 letters, digits, '.', '_' or '-'",
    ),
]
"""What may name a sweep, a strategy or an attack: it also names folders."""

PLACE_PATTERN = re.compile(
    r"(fig[13456]|table[123467])/(cifar10|cifar100|cifar10_dvs)/(vgg11|wrn16)"
)
PaperPlace = Annotated[
    str,
    Field(
        pattern=f"^{PLACE_PATTERN.pattern}$",
        description="table or figure, data set and architecture, such as table1/cifar10/vgg11",
    ),
]
"""What of the paper a space repeats."""

Order = Literal["all", "survivors"]
"""Whom a suite's member attacks: every sample, or those that withstood the members before it."""
Judge = Literal["plain", "exact"]
"""Which forward pass decides a verdict: the network's own, or the one of `docs/exact.md`."""
