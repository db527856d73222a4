"""Leaky integrate-and-fire neurons: one pure step, and a layer over all time steps."""

# Shapes: T time steps, B batch, "..." any further dimensions.

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.config import GradientEstimator, NeuronConfig
from models.surrogates import SURROGATES, Surrogate

RGA_DECAY = 0.2
"""Slope constant of the rate-based gradient in its authors' code (Bu et al., 2023)."""


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


def _fire(
    current: Tensor, leak: float, threshold: float, *, strictly: bool
) -> tuple[Tensor, Tensor]:
    """Spikes and the charged voltages (before reset), both shaped like `current` (T, B, ...)."""
    charged = torch.empty_like(current)
    spikes = torch.empty_like(current)
    compare = torch.gt if strictly else torch.ge
    voltage = torch.zeros_like(current[0])
    for step in range(current.shape[0]):
        torch.add(current[step], voltage, alpha=leak, out=charged[step])
        compare(charged[step], threshold, out=spikes[step])
        # charged * (1 - spikes), in one rounding-free operation: minus itself, or minus 0.
        voltage = torch.addcmul(charged[step], charged[step], spikes[step], value=-1.0)
    return spikes, charged


class _BackpropagationThroughTime(torch.autograd.Function):
    """T steps of `lif_step` with its gradient in closed form; saves voltages and spikes only.

    With u the charged voltage, s the spikes, m the voltage after reset and g the incoming
    gradient: from t = T down, gs = g_t - gm * u_t; gu = gs * h(u_t - threshold) + gm * (1 - s_t);
    gu is the current's gradient, and gm becomes leak * gu.
    """

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, leak: float, threshold: float, surrogate: Surrogate, gamma: float
    ) -> Tensor:
        spikes, charged = _fire(current, leak, threshold, strictly=False)
        ctx.save_for_backward(spikes, charged)
        ctx.constants = leak, threshold, surrogate, gamma
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        spikes, charged = ctx.saved_tensors
        leak, threshold, surrogate, gamma = ctx.constants
        grad_spikes = grads[0]
        grad_current = torch.empty_like(charged)
        last = charged.shape[0] - 1
        # The slope one step at a time: a step's tensors stay in the processor's cache.
        slope = surrogate(charged[last] - threshold, gamma)
        torch.mul(grad_spikes[last], slope, out=grad_current[last])
        for step in range(last - 1, -1, -1):
            grad_voltage = grad_current[step + 1]
            if leak != 1.0:
                grad_voltage = leak * grad_voltage
            slope = surrogate(charged[step] - threshold, gamma)
            through_spike = torch.addcmul(grad_spikes[step], grad_voltage, charged[step], value=-1)
            kept = torch.addcmul(grad_voltage, grad_voltage, spikes[step], value=-1)
            torch.addcmul(kept, through_spike, slope, out=grad_current[step])
        return grad_current, None, None, None, None


class _RateGradient(torch.autograd.Function):
    """Rate-based gradient approximation (RGA); Bu et al. (2023), as their code computes it.

    Its forward fires strictly above the threshold, unlike the network's own. The derivative
    depends on the current's mean over T alone, scaled here to a threshold of 1.
    """

    @staticmethod
    def forward(ctx: Any, current: Tensor, leak: float, threshold: float) -> Tensor:
        spikes, _ = _fire(current, leak, threshold, strictly=True)
        ctx.save_for_backward(current.mean(0) / threshold)
        ctx.constants = leak, threshold
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (mean,) = ctx.saved_tensors
        leak, threshold = ctx.constants
        firing = (mean >= 1.0 - leak) & (mean <= 2.0)
        leaking = (mean >= 0.0) & (mean <= 1.0 - leak)
        slope = firing.to(mean.dtype) * ((1.0 - RGA_DECAY + RGA_DECAY * leak) / (leak + 1.0))
        slope += leaking.to(mean.dtype) * RGA_DECAY
        return grads[0] * (slope / threshold), None, None


class _BackwardPassThroughRate(torch.autograd.Function):
    """Backward pass through rate (BPTR): passes gradients of neurons that fired at all.

    Ding et al. (2022), SNN-RAT.
    """

    @staticmethod
    def forward(ctx: Any, current: Tensor, leak: float, threshold: float) -> Tensor:
        spikes, _ = _fire(current, leak, threshold, strictly=False)
        ctx.save_for_backward(spikes.amax(0))
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (fired,) = ctx.saved_tensors
        return grads[0] * fired, None, None


def spike_trains(
    current: Tensor, estimator: GradientEstimator, *, leak: float = 1.0, threshold: float = 1.0
) -> Tensor:
    """Spikes of neurons driven by `current` over all time steps, from a voltage of 0.

    Args:
        current: Input current, shape (T, B, ...), in units of voltage per time step.
        estimator: How the spikes are differentiated.
        leak: Fraction of the voltage kept between steps, in [0, 1].
        threshold: Firing threshold, in units of voltage.

    Returns:
        Spikes in {0, 1}, shaped like `current`.
    """
    if estimator.method == "rga":
        spikes: Tensor = _RateGradient.apply(current, leak, threshold)
    elif estimator.method == "bptr":
        spikes = _BackwardPassThroughRate.apply(current, leak, threshold)
    else:
        surrogate = SURROGATES[estimator.surrogate]
        spikes = _BackpropagationThroughTime.apply(
            current, leak, threshold, surrogate, estimator.gamma
        )
    return spikes


class SpikingNeurons(nn.Module):
    """A layer of neurons; time is folded into the batch, (T * B, ...), time outermost.

    `estimator` is the one in force; only `models.oracle` changes it, and always puts it back.
    """

    def __init__(self, config: NeuronConfig, num_timesteps: int) -> None:
        super().__init__()
        self.leak, self.threshold = config.leak, config.threshold
        self.num_timesteps = num_timesteps
        self.estimator = config.estimator

    def forward(self, current: Tensor) -> Tensor:
        """Spikes shaped like `current`, (T * B, ...)."""
        folded = current.unflatten(0, (self.num_timesteps, -1))
        spikes = spike_trains(folded, self.estimator, leak=self.leak, threshold=self.threshold)
        return spikes.flatten(0, 1)

    def extra_repr(self) -> str:
        """What `print(model)` shows of the layer."""
        return f"T={self.num_timesteps}, leak={self.leak:g}, threshold={self.threshold:g}"
