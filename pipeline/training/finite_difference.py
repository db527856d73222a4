"""The penalty that SR and GR share: a squared or absolute difference quotient, Eq. (14)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

PenaltyForm = Literal["squared", "absolute"]
Quantity = Callable[[Tensor, Tensor], Tensor]
"""(logits (B, K), labels (B,)) -> one value per sample (B,)."""


def difference_penalty(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    logits: Tensor,
    quantity: Callable[[Tensor], Tensor],
    *,
    step: float,
    form: PenaltyForm,
) -> Tensor:
    """Mean squared or absolute difference quotient along the sign of the gradient.

    d = sign(grad q(x)), then q(x + h d) - q(x) over h estimates the l1 norm of the gradient
    (Proposition 4.4). d is held fixed; gradients of the weights flow through both values.
    x + h d is neither clipped nor projected, as in the released code.

    Args:
        model: In training mode; its batch-norm statistics see x + h d as a further batch.
        images: Shape (B, C, H, W), requiring a gradient, from which `logits` were computed.
        labels: Shape (B,).
        logits: Shape (B, K).
        quantity: q, from logits to one value per sample.
        step: h, in pixel units.
        form: `squared` is the released code's, whose lambdas the paper reports; `absolute` is
            the printed one.

    Returns:
        A scalar, before it is weighted by lambda.
    """
    at_image = quantity(logits)
    (gradient,) = torch.autograd.grad(at_image.sum(), images, retain_graph=True)
    moved = images.detach() + step * gradient.sign()
    quotient = (quantity(model(moved)) - at_image) / step
    return quotient.square().mean() if form == "squared" else quotient.abs().mean()
