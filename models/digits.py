"""Weights as a few integer-valued digits whose sums no order of summation can round.

A float32 holds every integer below 2**24, so a sum of products of integers is exact, whatever its
order, where every partial sum stays below that bound. Inputs are whole numbers 0 ... `levels`, so
the partial sums of an output lie between `levels` times the sum of its negative weights and
`levels` times that of its positive ones.
"""

# Shapes: D digits, O outputs, "..." the further dimensions of a weight.

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST_SUM = 2**24 - 1
"""Integers up to it are float32 numbers of at most 24 bits; also where an adder, as that of a
tensor core, cuts off all terms below the last bit of the largest."""
LARGEST_DIGIT = 2**11
"""Integers up to it are TF32 numbers, too: a significand of 11 bits."""
MOST_DIGITS = 3
TOLERANCE = 2.0**-23
"""Error of a weight that is called float32's own, as a share of its output's largest weight."""
SMALLEST = 2.0**-126
"""Unit of the smallest digit: below it, float32 has no normal numbers."""
LARGEST_WEIGHT = 2.0**100
"""Above it, a current could leave float32's range."""
ROUNDING = 1.5 * 2.0**52
"""A float64 of this size has no bits below the point."""
CHUNK = 2**14
"""Weights that are split at once: few enough for a cache, and for one thread."""


class InexactError(ValueError):
    """A network, or an input, whose sums cannot be shown to be exact."""


@dataclass(frozen=True, kw_only=True)
class Digits:
    """A weight w = sum over j of values[j] * units[j], but for `error`."""

    values: Tensor
    """Integers in float32, shape (D, O, ...), each at most `LARGEST_DIGIT` in size."""
    units: Tensor
    """Powers of two in float32, shape (D, O)."""
    error: float
    """Largest error of a weight, as a share of its output's largest weight (or of 2**-103)."""
    load: int
    """Largest partial sum that any input can cause, at most `LARGEST_SUM`."""


def digits(weight: Tensor, levels: int, layer: str) -> Digits:
    """The digits of a weight, as few as reach float32's own error.

    Each is as fine as the two bounds allow: of its own size, and of the sums it takes part in.
    Every step is a comparison, a rounding, or an operation on float64 that is exact, so that the
    digits are the same on any machine.

    Args:
        weight: Shape (O, ...).
        levels: The inputs are whole numbers from 0 to this one.
        layer: Name of the layer, for the errors' text.

    Raises:
        InexactError: A weight is not finite or too large; or so many inputs meet an output that
            `MOST_DIGITS` digits within the bound are too coarse.
    """
    rows = weight.detach().cpu().flatten(1)
    values = torch.zeros(MOST_DIGITS, *rows.shape)
    units = torch.ones(MOST_DIGITS, len(rows))
    number, load, error = 1, 0, 0.0
    # A few rows at a time: what is computed stays in the processor's cache.
    size = max(CHUNK // max(rows.shape[1], 1), 1)
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        found, share = _row_digits(rows[part].double(), levels, layer, start)
        for place, (digit, unit, sums) in enumerate(found):
            values[place, part], units[place, part] = digit.float(), unit.float()
            load = max(load, int(sums.max()))
        number, error = max(number, len(found)), max(error, share)
    split = values[:number].unflatten(2, weight.shape[1:])
    return Digits(values=split, units=units[:number], error=error, load=load)


def _row_digits(
    rows: Tensor, levels: int, layer: str, start: int
) -> tuple[list[tuple[Tensor, Tensor, Tensor]], float]:
    """Digits (O, N), units (O,) and largest sums (O,) of some rows, and their largest error."""
    largest = rows.abs().amax(1)
    if not bool((largest <= LARGEST_WEIGHT).all()):  # nor is NaN
        raise InexactError(
            f"{layer}: its largest weight is {float(largest.max()):.1e}; expected finite ones, at "
            "most 2**100, or a current may leave float32's range"
        )
    allowed = (TOLERANCE * largest).clamp_min(SMALLEST / 2)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    rest, left = rows, largest
    while bool((left > allowed).any()):
        if len(found) == MOST_DIGITS:
            worst = int((left / allowed).argmax())
            raise InexactError(
                f"{layer}: output {start + worst} adds up {rows.shape[1]} inputs of up to {levels};"
                f" {MOST_DIGITS} digits whose sums stay below 2**24 leave an error of "
                f"{float(left[worst] / largest[worst]):.1e} of its largest weight, float32's own "
                f"is {TOLERANCE:.1e}: this layer cannot be judged exactly"
            )
        open_ = left > allowed
        asked = rest.where(open_[:, None], 0.0), left.where(open_, 0.0)
        digit, unit, sums = _next_digit(*asked, levels)
        prove(digit.float(), levels, layer)
        rest = rest - digit * unit[:, None]
        left = rest.abs().amax(1)
        found.append((digit, unit, sums))
    return found, float((left / largest.clamp_min(SMALLEST / TOLERANCE)).max())


def _next_digit(rest: Tensor, left: Tensor, levels: int) -> tuple[Tensor, Tensor, Tensor]:
    """The leading digit (O, N) of what is left, its unit (O,), and its largest sums (O,)."""
    mantissa, exponent = torch.frexp(left)
    # A power of two itself, of mantissa 1/2, becomes 2**11 and no less.
    bits = 11 - exponent.long() + (mantissa == 0.5)
    bits = bits.clamp(max=126)
    while True:
        # Adding and subtracting rounds to integers, ten times faster than torch's `round`.
        digit = (rest * _power_of_two(bits)[:, None] + ROUNDING) - ROUNDING
        sums = largest_sums(digit, levels)
        high = sums > LARGEST_SUM
        if not bool(high.any()):
            return digit, _power_of_two(-bits), sums
        bits = bits - high.long()


def largest_sums(digit: Tensor, levels: int) -> Tensor:
    """Largest partial sum, in size, that inputs from 0 to `levels` can cause, in any order.

    Args:
        digit: Integers, shape (O, N).
        levels: Largest input.

    Returns:
        Shape (O,), exact in float64.
    """
    up, down = digit.clamp_min(0.0).sum(1), -digit.clamp_max(0.0).sum(1)
    return levels * torch.maximum(up, down)


def prove(digit: Tensor, levels: int, layer: str) -> None:
    """Check, of a digit as it will be used, that its sums are exact in any order.

    Args:
        digit: Shape (O, N).
        levels: The inputs are whole numbers from 0 to this one.
        layer: Name of the layer, for the errors' text.

    Raises:
        InexactError: It is no integer, or above its bound, or a sum may be.
    """
    used = digit.double()
    if bool(used.frac().any()):
        raise InexactError(f"{layer}: a digit is no integer")
    if used.abs().max() > LARGEST_DIGIT:
        raise InexactError(f"{layer}: a digit is above {LARGEST_DIGIT}, which TF32 may round")
    highest = int(largest_sums(used, levels).max())
    if highest > LARGEST_SUM:
        raise InexactError(
            f"{layer}: inputs of up to {levels} may sum up to {highest}, which is not below 2**24"
        )


def _power_of_two(exponents: Tensor) -> Tensor:
    # math.ldexp is exact; a tensor's pow is not promised to be.
    return torch.tensor([math.ldexp(1.0, n) for n in exponents.tolist()], dtype=torch.float64)
