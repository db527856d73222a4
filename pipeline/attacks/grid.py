"""Attacked samples on the grid that an exact judge reads, still within what the budget allows."""

import torch
from torch import Tensor

from pipeline.attacks.ball import Ball, Budget
from pipeline.attacks.flips import Flips

SLACK = 2.0**-6
"""Steps by which float32 may miss a point of the grid that an attack meant."""


def radius_in_steps(radius: float, steps: int) -> int:
    """Whole steps within a radius: 8/255 is 2056 of 65535."""
    return int(radius * steps + 1e-6)


def in_steps(samples: Tensor, steps: int) -> Tensor:
    """Samples on the grid in whole steps, float64, of the same shape."""
    return (samples.double() * steps).round()


def in_reach(budget: Budget, adversarial: Tensor, samples: Tensor, steps: int) -> Tensor:
    """The adversarial samples on the grid, each entry moved toward the clean one to get there.

    So what lay within ball and box still does: the radius is rounded down to whole steps. Flips
    leave zeros and ones, which lie on every grid.

    Args:
        budget: What the adversary may do.
        adversarial: Any shape, within the budget.
        samples: The clean ones; same shape.
        steps: Of the grid, from 0 to 1.

    Returns:
        The samples in whole steps, float64.
    """
    start = _start(budget, in_steps(samples, steps), steps)
    if not isinstance(budget, Ball):
        # Half an event, the threshold, may lie on the other side of it once it is on the grid.
        turned = budget.nearest(adversarial) != budget.nearest(samples)
        return torch.where(turned, steps - start, start)
    moved = adversarial.double() * steps - start
    whole = start + (moved.abs() + SLACK).floor() * moved.sign()
    return whole.clamp(*_bounds(budget, in_steps(samples, steps), steps))


def excess(budget: Budget, whole: Tensor, clean: Tensor, steps: int) -> str:
    """What an adversarial sample does beyond its budget, for people; empty where nothing.

    Args:
        budget: What the adversary may do.
        whole: The adversarial sample in whole steps.
        clean: The clean one, likewise.
        steps: Of the grid, from 0 to 1.
    """
    start = _start(budget, clean, steps)
    if isinstance(budget, Ball):
        low, high = _bounds(budget, clean, steps)
        if bool(((whole >= low) & (whole <= high)).all()):
            return ""
        distance, radius = int((whole - start).abs().max()), radius_in_steps(budget.radius, steps)
        return f"it moves {distance} steps, the radius is {radius}"
    assert isinstance(budget, Flips)
    if not bool(((whole == 0) | (whole == steps)).all()):
        return "it holds other values than 0 and 1"
    turned = int((whole != start).sum())
    return f"it turns {turned} entries over, of {budget.count}" if turned > budget.count else ""


def _box(ball: Ball, steps: int) -> tuple[float, float]:
    """The box in whole steps: no step lies outside it."""
    return float(radius_in_steps(ball.low, steps)), float(torch.tensor(ball.high * steps).floor())


def _bounds(ball: Ball, clean: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Least and largest steps of each entry."""
    radius, box = radius_in_steps(ball.radius, steps), _box(ball, steps)
    return (clean - radius).clamp(*box), (clean + radius).clamp(*box)


def _start(budget: Budget, clean: Tensor, steps: int) -> Tensor:
    """Clean samples in whole steps as an adversary that changes nothing leaves them."""
    if isinstance(budget, Ball):
        return clean.clamp(*_box(budget, steps))
    return budget.nearest(clean / steps) * steps


def from_steps(whole: Tensor, steps: int, like: Tensor) -> Tensor:
    """Samples of whole steps, in the dtype of others; the division rounds once."""
    return whole.to(like.dtype) / torch.full((), float(steps), dtype=like.dtype, device=like.device)
