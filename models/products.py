"""Matrix products of a CPU by oneDNN: half of MKL's time on an AMD EPYC with AVX-512."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_ONEDNN = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if torch.backends.mkldnn.is_available()
    else None
)


def times_transposed(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """`left @ right.T + bias`, without a gradient.

    PyTorch gives matrix products to MKL and convolutions to oneDNN; the operator that asks oneDNN
    is `torch.compile`'s own. Other types and devices, and a PyTorch without it, use `matmul`.

    Args:
        left: Shape (M, K), in any layout.
        right: Shape (N, K), in any layout.
        bias: Shape (N,), or none.

    Returns:
        Shape (M, N).
    """
    if left.device.type == "cpu" and left.dtype == torch.float32 and _ONEDNN is not None:
        product: Tensor = _ONEDNN(left, right, bias, "none", [], "")
        return product
    product = left @ right.t()
    return product if bias is None else product + bias


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What `torch.nn.functional.linear` computes.

    Args:
        inputs: Shape (B, F).
        weight: Shape (O, F).
        bias: Shape (O,), or none.

    Returns:
        Shape (B, O).
    """
    with torch.no_grad():
        outputs = times_transposed(inputs, weight, bias)
    return with_gradients(
        outputs,
        Operand(inputs, _inputs_gradient, [weight]),
        Operand(weight, _weight_gradient, [inputs]),
        *([] if bias is None else [Operand(bias, _bias_gradient)]),
    )


def _inputs_gradient(grad_outputs: Tensor, weight: Tensor) -> Tensor:
    return times_transposed(grad_outputs, weight.t())


def _weight_gradient(grad_outputs: Tensor, inputs: Tensor) -> Tensor:
    return times_transposed(grad_outputs.t(), inputs.t())


def _bias_gradient(grad_outputs: Tensor) -> Tensor:
    return grad_outputs.sum(0)


class Operand(NamedTuple):
    """What a function is differentiated by."""

    tensor: Tensor
    gradient: Callable[..., Tensor]
    """Its gradient from that of the outputs, and what was saved."""
    saved: Sequence[Tensor] = ()


def with_gradients(outputs: Tensor, *operands: Operand) -> Tensor:
    """Outputs that are differentiated by each operand as it says.

    A gradient is computed where it is asked for alone: an attack asks for none of the weights. An
    `autograd.Function` of several operands would compute all. So each has a node of its own, a
    zero that takes no memory, and the outputs have the gradient of the sum.

    Args:
        outputs: Without a gradient.
        operands: Each enters once.
    """
    parts = [
        _Part.apply(tensor, gradient, outputs.shape, *(value.detach() for value in saved))  # type: ignore[no-untyped-call]
        for tensor, gradient, saved in operands
        if tensor.requires_grad
    ]
    # In a list, or autograd would take what it returns for a view of them, never changed in place.
    summed: Tensor = _Sum.apply([outputs], *parts)  # type: ignore[no-untyped-call]
    return summed


class _Part(torch.autograd.Function):
    """A zero whose gradient is that of one operand."""

    @staticmethod
    def forward(
        ctx: Any, operand: Tensor, gradient: Any, shape: torch.Size, *saved: Tensor
    ) -> Tensor:
        ctx.save_for_backward(*saved)
        ctx.gradient, ctx.num_others = gradient, 2 + len(saved)
        return operand.new_zeros(()).expand(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.gradient(grads[0], *ctx.saved_tensors), *[None] * ctx.num_others


class _Sum(torch.autograd.Function):
    """The outputs, as a sum with zeros."""

    @staticmethod
    def forward(ctx: Any, outputs: list[Tensor], *parts: Tensor) -> Tensor:
        ctx.num_parts = len(parts)
        return outputs[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, *[grads[0]] * ctx.num_parts
