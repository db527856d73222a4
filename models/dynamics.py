"""What a leaky integrate-and-fire neuron does: one step, and its spikes over all time steps."""

# Shapes: T time steps, B batch, "..." any further dimensions.

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from models.surrogates import Surrogate


class _Step(torch.autograd.Function):
    """Exact step forward, surrogate derivative backward."""

    @staticmethod
    def forward(ctx: Any, excess: Tensor, surrogate: Surrogate, gamma: float) -> Tensor:
        ctx.save_for_backward(excess)
        ctx.surrogate, ctx.gamma = surrogate, gamma
        return (excess >= 0).to(excess.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (excess,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate(excess, ctx.gamma), None, None


def lif_step(
    current: Tensor,
    voltage: Tensor,
    *,
    leak: float,
    threshold: float,
    surrogate: Surrogate,
    gamma: float,
) -> tuple[Tensor, Tensor]:
    """Advance a layer of leaky integrate-and-fire neurons by one time step.

    Implements Eq. (1) of the paper: hard reset to 0, and the gradient flows through the reset.
    This is the definition; `spike_trains` computes the same over T steps in closed form.

    Args:
        current: Input current, shape (B, ...), in units of voltage per time step.
        voltage: Membrane voltage after the last step's reset, same shape.
        leak: Fraction of the voltage that is kept, in [0, 1]; 1 gives the IF neuron.
        threshold: Firing threshold, in the unit of `voltage`.
        surrogate: Derivative used in place of the step's; see `SURROGATES`.
        gamma: Width of the surrogate.

    Returns:
        Spikes in {0, 1} and the voltage after reset, each shaped like `current`.
    """
    charged = leak * voltage + current
    spikes: Tensor = _Step.apply(charged - threshold, surrogate, gamma)
    return spikes, charged * (1.0 - spikes)


def fire(
    current: Tensor, leak: float, threshold: float, *, strictly: bool = False
) -> tuple[Tensor, Tensor]:
    """Spikes and the charged voltages (before reset), both shaped like `current` (T, B, ...).

    Args:
        current: Input current over time.
        leak: Fraction of the voltage kept between steps.
        threshold: A neuron fires at this voltage or above.
        strictly: Fire above it only.
    """
    charged = torch.empty_like(current)
    voltage = torch.empty_like(current[0])
    compare = torch.gt if strictly else torch.ge
    return _fire(current, charged.unbind(0), voltage, leak, threshold, compare), charged


def spikes_alone(
    current: Tensor, leak: float, threshold: float, *, strictly: bool = False
) -> Tensor:
    """The spikes of `fire`, and no voltages kept: half the memory's traffic."""
    voltage = torch.empty_like(current[0])
    charged = [voltage] * current.shape[0]
    compare = torch.gt if strictly else torch.ge
    return _fire(current, charged, voltage, leak, threshold, compare)


def _fire(
    current: Tensor,
    charged: Sequence[Tensor],
    voltage: Tensor,
    leak: float,
    threshold: float,
    compare: Callable[..., Tensor],
) -> Tensor:
    """Spikes; writes each step's charged voltage, and the voltage after the last step's reset."""
    spikes = torch.empty_like(current)
    for step, (drive, voltages, fired) in enumerate(zip(current, charged, spikes, strict=True)):
        if step:
            torch.add(drive, voltage, alpha=leak, out=voltages)
        else:
            voltages.copy_(drive)
        compare(voltages, threshold, out=fired)
        # charged * (1 - spikes), in one rounding-free operation: minus itself, or minus 0.
        torch.addcmul(voltages, voltages, fired, value=-1.0, out=voltage)
    return spikes


def mean_over_time(steps: Iterable[Tensor]) -> Tensor:
    """The mean of at least one tensor a time step, shape (B, ...), laid out in memory as they are.

    `Tensor.mean` over the first dimension would lay images out anew, in ten times the time.
    """
    total, count = None, 0
    for step in steps:
        total = step.clone() if total is None else total.add_(step)
        count += 1
    assert total is not None
    return total.div_(count)
