"""Surrogate derivatives of the step function: what backpropagation uses in its place.

Each maps the excess of the voltage over the threshold (any shape) and a width gamma to the
derivative, same shape. Equations (33) to (35) of the paper; where the print and the released
code differ, the code's form stands here, since the published numbers came from it.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Surrogate = Callable[[Tensor, float], Tensor]


def triangle(excess: Tensor, gamma: float) -> Tensor:
    """Derivative max(0, gamma - |excess|) / gamma**2; unit area, support 2 * gamma.

    Eq. (33) prints 1/gamma in front, which is the same at gamma = 1 alone.
    """
    distance = excess.abs()
    height = distance.neg_().add_(gamma).clamp_min_(0.0)
    return height if gamma == 1.0 else height.div_(gamma**2)


def sigmoid(excess: Tensor, gamma: float) -> Tensor:
    """Derivative of the logistic function of gamma * excess; unit area. Eq. (34)."""
    fraction = torch.sigmoid(gamma * excess)
    return gamma * fraction * (1.0 - fraction)


def arctangent(excess: Tensor, gamma: float) -> Tensor:
    """Derivative gamma / (2 * (1 + (pi/2 * gamma * excess)**2)); unit area. Eq. (35)."""
    return (gamma / 2.0) / (1.0 + (math.pi / 2.0 * gamma * excess).square())


def rectangular(excess: Tensor, gamma: float) -> Tensor:
    """Derivative 1/gamma where |excess| < gamma/2, else 0; unit area."""
    return (excess.abs() < gamma / 2.0).to(excess.dtype).div_(gamma)


def exponential(excess: Tensor, gamma: float) -> Tensor:
    """Derivative exp(-gamma * |excess|): nowhere zero; height 1 whatever the width."""
    return excess.abs().mul_(-gamma).exp_()


def damped_exponential(excess: Tensor, gamma: float) -> Tensor:
    """Derivative 0.3 * exp(-gamma * |excess|): the chain through time weighs less."""
    return exponential(excess, gamma).mul_(0.3)


def straight_through(excess: Tensor, gamma: float) -> Tensor:
    """Derivative 1 everywhere (Bengio et al., 2013); there is no width."""
    return torch.ones_like(excess)


SURROGATES: dict[str, Surrogate] = {
    "triangle": triangle,
    "sigmoid": sigmoid,
    "arctangent": arctangent,
    "rectangular": rectangular,
    "exponential": exponential,
    "damped_exponential": damped_exponential,
    "straight_through": straight_through,
}
"""The last four are members of the ensemble of Ozdenizci and Legenstein (2024)."""
