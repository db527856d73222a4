"""The three slots in which every defence differs from plain training."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

Perturb = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(model in evaluation mode, images, labels) -> images to train on, within [0, 1]."""
Penalty = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
"""(model in training mode, images that require a gradient, labels, their logits) -> scalar."""
Project = Callable[[nn.Module], None]
"""Moves the weights back into a set, in place, after each optimiser step."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A training method; an empty slot leaves that part of plain training as it is."""

    perturb: Perturb | None = None
    penalty: Penalty | None = None
    project: Project | None = None
    weight_decay: float | None = None
    """Replaces the training's weight decay, for methods whose authors switch it off."""
