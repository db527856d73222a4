"""Size and sparsity of the gradient of f_y with respect to the image (Fig. 3b, Sec. 4)."""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.logits import rival_class, two_class_probability

ZERO_THRESHOLD = 1e-8
"""A component smaller than this share of the largest one counts as zero in the l0 norm."""


def probability_gradient(
    model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient of each sample's f_y with respect to its image, and f_y (B,)."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(images)
        value = two_class_probability(logits, labels, rival_class(logits, labels))
        (gradient,) = torch.autograd.grad(value.sum(), images)
    return gradient, value.detach()


def margin_gradient_norms(
    model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    """Norms of the gradient of z_y - z_rival, one value per sample.

    f_y is the sigmoid of that margin, so its gradient is f_y (1 - f_y) times this one: it also
    shrinks where the margin is merely large. This one does not, and is the better of the two to
    compare networks by; the density of both is the same.

    Returns:
        `margin_gradient_l1` and `margin_gradient_l2`, each of shape (B,).
    """
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(images)
        rival = rival_class(logits, labels).unsqueeze(1)
        margin = logits.gather(1, labels.unsqueeze(1)) - logits.gather(1, rival)
        (gradient,) = torch.autograd.grad(margin.sum(), images)
    flat = gradient.flatten(1).double()
    return {
        "margin_gradient_l1": flat.abs().sum(1),
        "margin_gradient_l2": flat.square().sum(1).sqrt(),
    }


def gradient_sparsity(gradient: Tensor) -> dict[str, Tensor]:
    """Norms and scale-free sparsity of gradients, one value per sample.

    Args:
        gradient: Shape (B, ...).

    Returns:
        `gradient_l1`, `gradient_l2`; `gradient_l0`, the number of components above
        `ZERO_THRESHOLD` times the largest; `gradient_density` = l1**2 / l2**2, which Theorem 4.3
        bounds by l0 and which, unlike the norms, no rescaling changes; `hoyer` sparsity in [0, 1]
        (1: a single component). The last two are NaN where the gradient is zero.
    """
    flat = gradient.flatten(1).double()
    size = flat.shape[1]
    l1, l2 = flat.abs().sum(1), flat.square().sum(1).sqrt()
    largest = flat.abs().amax(1, keepdim=True)
    l0 = (flat.abs() > ZERO_THRESHOLD * largest).sum(1).double()
    ratio = l1 / l2
    return {
        "gradient_l1": l1,
        "gradient_l2": l2,
        "gradient_l0": l0,
        "gradient_density": ratio.square(),
        "hoyer": (size**0.5 - ratio) / (size**0.5 - 1),
    }
