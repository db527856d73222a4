"""SA-PGD (Wang et al., 2026): PGD with a step per pixel, for gradients that mislead at times."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.attacks.apgd import ball_start, checkpoints
from pipeline.attacks.ball import Ball
from pipeline.attacks.losses import LOSSES, LossName
from pipeline.attacks.oracle import Oracle
from pipeline.config_types import Count, Epsilon

FIRST_DECAY, SECOND_DECAY = 0.5, 0.8
SMALLEST = 1e-30
"""Keeps a gradient of zeros at zero instead of dividing it by nothing."""


@dataclass(frozen=True, kw_only=True)
class SAPGDConfig:
    """Moves by eta * m / sqrt(v), at most eta, where m and v add up normalised gradients.

    eta starts at epsilon and halves at APGD's checkpoints, whatever the loss does.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Literal["sa_pgd"] = "sa_pgd"
    num_steps: Count = 100
    """Steps; one forward pass more judges the last iterate."""
    loss: LossName = "cross_entropy"
    """What is raised."""
    iterate: Literal["last", "any"] = "any"
    """Which iterate is returned: the last, or (the authors') the latest that fools the oracle."""
    num_restarts: Count = 1
    """Further tries for what still stands, each from a start of its own."""
    epsilon: Epsilon | None = None
    """Radius; omitted, the evaluation's."""

    @property
    def gradient_steps(self) -> int:
        """Gradients that one sample may cost."""
        return self.num_steps * self.num_restarts


def sa_pgd(
    oracle: Oracle, images: Tensor, labels: Tensor, ball: Ball, config: SAPGDConfig
) -> Tensor:
    """Adversarial images; see `SAPGDConfig`."""
    loss = LOSSES[config.loss]
    current = ball_start(oracle, images, ball)
    adversarial = current.clone()
    fooled = torch.zeros_like(labels, dtype=torch.bool)
    first, second = torch.zeros_like(images), torch.zeros_like(images)
    pixels = tuple(range(1, images.dim()))
    step_size, due = ball.radius, dict(checkpoints(config.num_steps))

    def note(logits: Tensor) -> None:
        wrong = logits.argmax(1) != labels
        adversarial[wrong] = current[wrong]
        fooled.logical_or_(wrong)

    for step in range(1, config.num_steps + 1):
        direction, logits = oracle.gradient(current, labels, loss)
        note(logits)
        size = direction.abs().mean(pixels, keepdim=True) + SMALLEST
        scaled = direction / size
        power = scaled.square()
        first = FIRST_DECAY * first + scaled
        second = SECOND_DECAY * second + power / (power.mean(pixels, keepdim=True) + SMALLEST)
        move = (step_size * first / (second.sqrt() + 1e-12)).clamp(-step_size, step_size)
        current = ball.project(current + move, images)
        if step in due:
            step_size /= 2.0
    if config.iterate == "last":
        return current
    note(oracle.logits(current))
    return torch.where(fooled.view(-1, *[1] * (images.dim() - 1)), adversarial, current)
