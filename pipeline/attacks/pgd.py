"""Projected gradient descent in the L-infinity ball (Madry et al., 2018)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.attacks.ball import Ball, ascent_sign
from pipeline.attacks.losses import LOSSES, LossName
from pipeline.attacks.oracle import Oracle
from pipeline.config_types import Count, Epsilon, Positive, StepSize


@dataclass(frozen=True, kw_only=True)
class PGDConfig:
    """Repeated steps along the gradient's sign, each projected back into ball and box."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Literal["pgd"] = "pgd"
    num_steps: Count = 10
    """Gradient steps; each costs one forward and one backward pass."""
    step_size: StepSize | None = None
    """Length of a step, in pixel units of [0, 1]; omitted, `relative_step_size` decides."""
    relative_step_size: Positive = 0.25
    """Length of a step as a fraction of epsilon, where `step_size` is not given."""
    random_start: bool = True
    """Start at a uniform draw from the ball instead of at the image."""
    loss: LossName = "cross_entropy"
    """What is raised."""
    iterate: Literal["last", "any"] = "last"
    """Which iterate is returned: the last (the paper's rule), or the first that fools the oracle
    (stronger, and cheaper: a fooled sample is not attacked further)."""
    num_restarts: Count = 1
    """Further tries for what still stands, each from a start of its own."""
    epsilon: Epsilon | None = None
    """Radius; omitted, the evaluation's."""

    @property
    def gradient_steps(self) -> int:
        """Gradients that one sample may cost."""
        return self.num_steps * self.num_restarts


def pgd(oracle: Oracle, images: Tensor, labels: Tensor, ball: Ball, config: PGDConfig) -> Tensor:
    """Adversarial images of `config.num_steps` steps; see `PGDConfig` for the choices."""
    loss = LOSSES[config.loss]
    step_size = ball.unit * (config.step_size or config.relative_step_size * ball.epsilon)
    result = images.clone()
    if config.random_start:
        result = ball.clip(result + oracle.draws.uniform(result, -ball.radius, ball.radius))
    active = torch.arange(len(images), device=images.device)
    for _ in range(config.num_steps):
        direction, logits = oracle.gradient(result[active], labels[active], loss)
        standing = logits.argmax(1) == labels[active]
        if config.iterate == "any" and not bool(standing.all()):
            active, direction = active[standing], direction[standing]
            oracle = oracle.narrowed(standing)
            if len(active) == 0:
                break
        stepped = result[active] + step_size * ascent_sign(direction)
        result[active] = ball.project(stepped, images[active])
    return result
