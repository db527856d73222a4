"""The neurons' closed form as two compiled kernels, each one pass over the memory.

Compiled by `torch.compile` once for a neuron's constants and T, whatever the layer's size. Worth
it for long trainings alone: `pipeline.training.compilation` decides.
"""

# Shapes: T time steps, B batch, N neurons times batch, "..." any further dimensions.

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.config import GradientEstimator
from models.surrogates import SURROGATES

Forward = Callable[[Tensor], tuple[Tensor, Tensor]]
Backward = Callable[[Tensor, Tensor], Tensor]
VECTOR_BITS = {"AVX2": 256, "AVX512": 512}
"""Width of a processor's vectors by PyTorch's name for it; others choose for themselves."""


@functools.cache
def _kernels(
    surrogate: str, gamma: float, leak: float, threshold: float, num_threads: int
) -> tuple[Forward, Backward]:
    """Current (T, N) to spikes and charged voltages; their gradient and those to the current's.

    The plain loop of `models.dynamics.lif_step`, and its gradient as
    `models.backward_rules` states it.
    """
    derivative = SURROGATES[surrogate]

    def forward(current: Tensor) -> tuple[Tensor, Tensor]:
        voltage = torch.zeros_like(current[0])
        spikes, charged = [], []
        for drive in current.unbind(0):
            charged.append(leak * voltage + drive)
            spikes.append((charged[-1] >= threshold).to(drive.dtype))
            voltage = charged[-1] * (1.0 - spikes[-1])
        return torch.stack(spikes), torch.stack(charged)

    def backward(grad_spikes: Tensor, charged: Tensor) -> Tensor:
        grad_voltage = torch.zeros_like(charged[0])
        grads = []
        for grad, voltage in zip(grad_spikes.flip(0), charged.flip(0), strict=True):
            slope = derivative(voltage - threshold, gamma)
            kept = torch.where(voltage >= threshold, 0.0, grad_voltage)
            grads.append((grad - grad_voltage * voltage) * slope + kept)
            grad_voltage = leak * grads[-1]
        return torch.stack(grads[::-1])

    return compiled_kernel(forward, num_threads), compiled_kernel(backward, num_threads)


@functools.cache
def compiled_kernel(function: Callable[..., Any], num_threads: int) -> Callable[..., Any]:
    """A function of tensors compiled by `torch.compile`, at its first call, for any sizes.

    What was compiled once for a machine stays on its disk. PyTorch finds it again without regard
    to threads and to the width of the processor's vectors: what was compiled for one thread runs on
    one for ever, and what was compiled for wider vectors computes rubbish on a machine without (a
    disk that machines share, `ATEN_CPU_CAPABILITY` set). So both are stated here.

    Args:
        function: Of tensors, to tensors.
        num_threads: Of a CPU, that it runs on.
    """
    width = VECTOR_BITS.get(torch.backends.cpu.get_cpu_capability())
    # One compiling thread: a pool of further processes is no good on a worker of a cluster.
    options: dict[str, Any] = {
        "compile_threads": 1,
        "cpp.simdlen": width,
        "cpp.threads": num_threads,
    }
    kernel: Callable[..., Any] = torch.compile(
        function, dynamic=True, fullgraph=True, options=options
    )
    return kernel


class _CompiledThroughTime(torch.autograd.Function):
    """Spikes of (T, B, ...) with their gradient through time; saves the charged voltages."""

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, surrogate: str, gamma: float, leak: float, threshold: float
    ) -> Tensor:
        kernels = _kernels(surrogate, gamma, leak, threshold, torch.get_num_threads())
        # Dimensions as they lie in memory, so that a dense current is flattened without a copy.
        order = sorted(range(1, current.dim()), key=lambda dim: -current.stride()[dim])
        ordered = current.permute(0, *order)
        spikes, charged = kernels[0](ordered.flatten(1))
        ctx.save_for_backward(charged)
        ctx.order, ctx.shape, ctx.backward_kernel = order, ordered.shape, kernels[1]
        return _unflattened(spikes, ordered.shape, order)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (charged,) = ctx.saved_tensors
        ordered = grads[0].permute(0, *ctx.order).flatten(1).contiguous()
        grad_current = ctx.backward_kernel(ordered, charged)
        return _unflattened(grad_current, ctx.shape, ctx.order), None, None, None, None


def compiled_spikes(
    current: Tensor, estimator: GradientEstimator, *, leak: float, threshold: float
) -> Tensor:
    """What `models.backward_rules.spike_trains` does for the estimator `stbp`, compiled.

    Args:
        current: Input current, shape (T, B, ...), in any memory layout, which the spikes keep.
        estimator: Its surrogate and width count.
        leak: Fraction of the voltage kept between steps.
        threshold: Firing threshold.

    Returns:
        Spikes in {0, 1}, shaped like `current`.
    """
    spikes: Tensor = _CompiledThroughTime.apply(
        current, estimator.surrogate, estimator.gamma, leak, threshold
    )
    return spikes


def _unflattened(flat: Tensor, shape: torch.Size, order: list[int]) -> Tensor:
    """Back from (T, N) to the dimensions' old order."""
    inverse = [order.index(dim) + 1 for dim in range(1, len(order) + 1)]
    return flat.view(shape).permute(0, *inverse)
