"""How spikes are differentiated: the backward rule of every gradient estimator.

Each rule keeps the neuron's own spikes and replaces their derivative, but for two: `rga` fires
strictly above the threshold, as its authors' code does, and `relu` has no spikes at all.
"""

# Shapes: T time steps, B batch, "..." any further dimensions.

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.compiled import compiled_spikes
from models.config import GradientEstimator
from models.dynamics import fire, mean_over_time, spikes_alone
from models.surrogates import SURROGATES, triangle

RGA_DECAY = 0.2
"""Slope constant of the rate-based gradient in its authors' code (Bu et al., 2023)."""
ASSG_DECAY = 0.9
"""Decay of both running means (Wang et al., 2026)."""
ASSG_SPREAD = 1.5
"""Weight of the mean deviation beside the mean distance to the threshold."""

Slopes = Callable[[int], Tensor]
"""Derivative of the spikes at a time step, shape (B, ...)."""
Prepare = Callable[[Tensor], Slopes]
"""Slopes from the excess of the charged voltages over the threshold, shape (T, B, ...)."""


@dataclass
class Adaptation:
    """What ASSG remembers of a layer from one step of an attack to the next."""

    distance: Tensor | None = None
    """Running mean M of |u - threshold|, per time step, sample and neuron: (T, B, ...)."""
    deviation: Tensor | None = None
    """Running mean D of its deviation from M."""
    learning: bool = True
    """False: further draws of a random network use what is known and add nothing to it."""

    def spread(self, size: Tensor) -> Tensor:
        """M + 1.5 D after seeing |u - threshold| once more; M starts at 1 and D at 0."""
        if self.distance is None or self.deviation is None:
            self.distance, self.deviation = torch.ones_like(size), torch.zeros_like(size)
        if self.learning:
            self.distance = self.distance.lerp(size, 1.0 - ASSG_DECAY)
            off = (size - self.distance).abs()
            self.deviation = self.deviation.lerp(off, 1.0 - ASSG_DECAY)
        return self.distance + ASSG_SPREAD * self.deviation

    def narrowed(self, keep: Tensor) -> "Adaptation":
        """The memory of some of the samples."""
        if self.distance is None or self.deviation is None:
            return Adaptation()
        return Adaptation(self.distance[:, keep], self.deviation[:, keep])


class _BackpropagationThroughTime(torch.autograd.Function):
    """T steps of `lif_step` with its gradient in closed form; saves voltages and spikes only.

    With u the charged voltage, s the spikes, m the voltage after reset and g the incoming
    gradient: from t = T down, gs = g_t - gm * u_t; gu = gs * h_t + gm * (1 - s_t); gu is the
    current's gradient, and gm becomes leak * gu. h_t are the slopes that `prepare` gives.
    """

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, leak: float, threshold: float, prepare: Prepare
    ) -> Tensor:
        spikes, charged = fire(current, leak, threshold)
        ctx.save_for_backward(spikes, charged)
        ctx.leak, ctx.slopes = leak, prepare(charged)
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        spikes, charged = ctx.saved_tensors
        leak, slopes = ctx.leak, ctx.slopes
        grad_spikes = grads[0]
        grad_current = torch.empty_like(charged)
        last = charged.shape[0] - 1
        # The slope one step at a time: a step's tensors stay in the processor's cache.
        torch.mul(grad_spikes[last], slopes(last), out=grad_current[last])
        for step in range(last - 1, -1, -1):
            grad_voltage = grad_current[step + 1]
            if leak != 1.0:
                grad_voltage = leak * grad_voltage
            through_spike = torch.addcmul(grad_spikes[step], grad_voltage, charged[step], value=-1)
            kept = torch.addcmul(grad_voltage, grad_voltage, spikes[step], value=-1)
            torch.addcmul(kept, through_spike, slopes(step), out=grad_current[step])
        return grad_current, None, None, None


class _RateGradient(torch.autograd.Function):
    """Spikes with one slope a neuron for all time steps; `rate_spikes` says which."""

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, estimator: GradientEstimator, leak: float, threshold: float
    ) -> Tensor:
        spikes, slope = rate_spikes(current, estimator, leak=leak, threshold=threshold)
        ctx.save_for_backward(slope)
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return grads[0] * slope, None, None, None


def rate_spikes(
    current: Tensor, estimator: GradientEstimator, *, leak: float, threshold: float
) -> tuple[Tensor, Tensor]:
    """Spikes and their slope by an estimator that gives all time steps the same.

    - `rga` (Bu et al., 2023), as their code computes it: fires strictly above the threshold,
      unlike the network's own neurons; the slope depends on the current's mean over T alone,
      scaled here to a threshold of 1.
    - `bptr`, backward pass through rate (Ding et al., 2022): 1 for neurons that fired at all.
    - `hart` (Hao et al., 2024): the mean over T of a triangle, where the incoming gradient does
      not change over time; where it may, `spike_trains` averages their product.

    Args:
        current: Input current, shape (T, B, ...).
        estimator: One of these three.
        leak: Fraction of the voltage kept between steps.
        threshold: Firing threshold.

    Returns:
        Spikes, shaped like `current`, and slopes, shape (B, ...).
    """
    if estimator.method == "hart":
        spikes, charged = fire(current, leak, threshold)
        return spikes, mean_over_time(triangle(u - threshold, estimator.gamma) for u in charged)
    spikes = spikes_alone(current, leak, threshold, strictly=estimator.method == "rga")
    if estimator.method == "rga":
        return spikes, rga_slope(mean_over_time(current) / threshold, leak) / threshold
    return spikes, functools.reduce(torch.maximum, spikes)


def rga_slope(mean: Tensor, leak: float) -> Tensor:
    """Derivative of the firing rate by the mean input current, at a threshold of 1; any shape."""
    firing = (mean >= 1.0 - leak) & (mean <= 2.0)
    leaking = (mean >= 0.0) & (mean <= 1.0 - leak)
    slope = firing.to(mean.dtype) * ((1.0 - RGA_DECAY + RGA_DECAY * leak) / (leak + 1.0))
    return slope + leaking.to(mean.dtype) * RGA_DECAY


class _HybridRateTemporal(torch.autograd.Function):
    """HART (Hao et al., 2024): each step's own slope, no chain through time, mean over time."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, leak: float, threshold: float, gamma: float) -> Tensor:
        spikes, charged = fire(current, leak, threshold)
        ctx.save_for_backward(charged)
        ctx.constants = threshold, gamma
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (charged,) = ctx.saved_tensors
        threshold, gamma = ctx.constants
        mean = mean_over_time(
            grad * triangle(u - threshold, gamma) for grad, u in zip(grads[0], charged, strict=True)
        )
        return mean.expand_as(charged), None, None, None


def _potential_dependent_slopes(threshold: float) -> Prepare:
    """PDSG (Lun et al., 2025): a Gaussian of excess x, mean sigma_t / 2, deviation sigma_t.

    sigma_t is the standard deviation of the charged voltages up to step t: per channel of a
    convolution, over all features of a linear layer. The authors pool the batch, too; here each
    sample has its own, so that a verdict does not depend on who shares the batch. With a batch of
    one the two are the same.
    """

    def prepare(charged: Tensor) -> Slopes:
        deviations = _deviations_so_far(charged)

        def slope(step: int) -> Tensor:
            sigma = deviations[step]
            excess = charged[step] - threshold
            exponent = ((excess - 0.5 * sigma) / sigma).square().mul_(-0.5)
            return exponent.exp_() / (math.sqrt(2.0 * math.pi) * sigma)

        return slope

    return prepare


def _deviations_so_far(charged: Tensor) -> list[Tensor]:
    """Standard deviations of the charged voltages up to each step; 1 where there is none.

    Each step's own sums are joined to those before it (Chan, Golub and LeVeque, 1979).

    Args:
        charged: Shape (T, B, C, H, W), pooled per sample and channel, or (T, B, ...), per sample.

    Returns:
        For each step a tensor that broadcasts to (B, ...).
    """
    if charged.dim() == 2:
        return [sigma.squeeze(-1) for sigma in _deviations_so_far(charged.unsqueeze(-1))]
    pooled = (2, 3) if charged.dim() == 5 else tuple(range(1, charged.dim() - 1))
    size = math.prod(charged.shape[dim + 1] for dim in pooled)
    mean = squares = torch.zeros((), dtype=charged.dtype, device=charged.device)
    found = []
    for step, voltages in enumerate(charged):
        first = voltages
        for dim in pooled:
            first = first.narrow(dim, 0, 1)
        centred = voltages - first  # equal voltages have no deviation, whatever sums are rounded to
        offset = centred.mean(pooled, keepdim=True)
        apart = first + offset - mean
        squares = squares + (centred - offset).square_().sum(pooled, keepdim=True)
        squares = squares + apart.square() * (size * step / (step + 1))
        mean = mean + apart / (step + 1)
        sigma = (squares / max(size * (step + 1) - 1, 1)).sqrt()
        found.append(torch.where(sigma == 0, 1.0, sigma))
    return found


def _adaptive_slopes(threshold: float, half_area: float, memory: Adaptation) -> Prepare:
    """ASSG (Wang et al., 2026): an arctangent as wide as the neuron's distance to the threshold.

    With x the excess: M <- 0.9 M + 0.1 |x|; D <- 0.9 D + 0.1 ||x| - M|;
    alpha = a / (M + 1.5 D + 1e-4), h = alpha/2 / (1 + (pi/2 alpha x)**2), a = 2 tan(pi A/2) / pi
    with A/2 = `half_area`. `memory` is updated by every forward pass.
    """
    scale = 2.0 * math.tan(math.pi * half_area) / math.pi

    def prepare(charged: Tensor) -> Slopes:
        excess = charged - threshold
        alpha = scale / (memory.spread(excess.abs()) + 1e-4)

        def slope(step: int) -> Tensor:
            height = alpha[step]
            return 0.5 * height / (1.0 + (0.5 * math.pi * height * excess[step]).square())

        return slope

    return prepare


def spike_trains(
    current: Tensor,
    estimator: GradientEstimator,
    *,
    leak: float = 1.0,
    threshold: float = 1.0,
    memory: Adaptation | None = None,
    compiled: bool = False,
) -> Tensor:
    """Spikes of neurons driven by `current` over all time steps, from a voltage of 0.

    Args:
        current: Input current, shape (T, B, ...), in units of voltage per time step.
        estimator: How the spikes are differentiated.
        leak: Fraction of the voltage kept between steps, in [0, 1].
        threshold: Firing threshold, in units of voltage.
        memory: Of the estimator `assg`, kept by the caller; None forgets at once.
        compiled: Use compiled kernels for the estimator `stbp`, which alone has them.

    Returns:
        Spikes in {0, 1}, shaped like `current`; for `relu` the activations instead.
    """
    if estimator.method == "relu":
        return current.clamp_min(0.0) / threshold
    if not current.requires_grad and estimator.method not in ("rga", "assg"):
        return spikes_alone(current, leak, threshold)
    spikes: Tensor
    if estimator.method in ("rga", "bptr"):
        spikes = _RateGradient.apply(current, estimator, leak, threshold)
    elif estimator.method == "hart":
        spikes = _HybridRateTemporal.apply(current, leak, threshold, estimator.gamma)
    elif estimator.method == "stbp" and compiled:
        spikes = compiled_spikes(current, estimator, leak=leak, threshold=threshold)
    else:
        prepare = _slopes(estimator, threshold, memory or Adaptation())
        spikes = _BackpropagationThroughTime.apply(current, leak, threshold, prepare)
    return spikes


def _slopes(estimator: GradientEstimator, threshold: float, memory: Adaptation) -> Prepare:
    if estimator.method == "pdsg":
        return _potential_dependent_slopes(threshold)
    if estimator.method == "assg":
        return _adaptive_slopes(threshold, estimator.gamma, memory)
    surrogate, gamma = SURROGATES[estimator.surrogate], estimator.gamma
    return lambda charged: lambda step: surrogate(charged[step] - threshold, gamma)
