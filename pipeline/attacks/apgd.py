"""Auto-PGD (Croce & Hein, 2020): momentum, and steps that halve themselves where they stall."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.attacks.ball import Ball, ascent_sign
from pipeline.attacks.losses import LOSSES, targeted_dlr
from pipeline.attacks.oracle import Loss, Oracle
from pipeline.config_types import Count, Epsilon

MOMENTUM = 0.25
"""Weight of the last move beside the new one, from the second step on."""
RISING = 0.75
"""A window in which the loss rose in at most this share of the steps halves the step size."""


@dataclass(frozen=True, kw_only=True)
class APGDConfig:
    """APGD with cross-entropy, DLR or targeted DLR, as the authors' code computes it.

    It ends at the latest iterate that fooled the oracle, or, where none did, at the one with the
    largest loss. "APGD10" of the paper is 100 steps in its released code.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Literal["apgd"] = "apgd"
    num_steps: Count = 100
    """Steps; one more gradient is taken at the start."""
    loss: Literal["cross_entropy", "margin", "dlr", "targeted_dlr"] = "cross_entropy"
    """What is raised."""
    num_targets: Count = 9
    """Classes that `targeted_dlr` tries in turn, the likeliest first; others take none."""
    num_restarts: Count = 1
    """Further tries for what still stands, each from a start of its own."""
    epsilon: Epsilon | None = None
    """Radius; omitted, the evaluation's."""

    @property
    def gradient_steps(self) -> int:
        """Gradients that one sample may cost."""
        targets = self.num_targets if self.loss == "targeted_dlr" else 1
        return (self.num_steps + 1) * targets * self.num_restarts


def checkpoints(num_steps: int) -> Iterator[tuple[int, int]]:
    """(steps done, steps since the last) at which APGD looks back; Sec. 3.1 there.

    22, 41, 57, 70, 80, 87, 93 and 99 for 100 steps.
    """
    window = max(int(0.22 * num_steps), 1)
    done = window
    while done <= num_steps:
        yield done, window
        window = max(window - max(int(0.03 * num_steps), 1), max(int(0.06 * num_steps), 1))
        done += window


def ball_start(oracle: Oracle, images: Tensor, ball: Ball) -> Tensor:
    """A random direction stretched until its largest component is epsilon, clipped to the box."""
    direction = oracle.draws.uniform(images, -1.0, 1.0)
    largest = direction.flatten(1).abs().amax(1).view(-1, *[1] * (images.dim() - 1))
    return ball.clip(images + ball.radius * direction / (largest + 1e-12))


def apgd(oracle: Oracle, images: Tensor, labels: Tensor, ball: Ball, config: APGDConfig) -> Tensor:
    """Adversarial images; see `APGDConfig`."""
    if config.loss != "targeted_dlr":
        loss = LOSSES[config.loss]
        return ascend(oracle, images, labels, ball, loss, config.num_steps)[0]
    own = torch.nn.functional.one_hot(labels, (logits := oracle.logits(images)).shape[1]).bool()
    ranked = logits.masked_fill(own, -torch.inf).argsort(dim=1, descending=True)
    result = images.clone()
    active = torch.arange(len(images), device=images.device)
    for rank in range(min(config.num_targets, logits.shape[1] - 1)):
        loss = targeted_dlr(ranked[active, rank])
        result[active], fooled = ascend(
            oracle, images[active], labels[active], ball, loss, config.num_steps
        )
        active, oracle = active[~fooled], oracle.narrowed(~fooled)
        if len(active) == 0:
            break
    return result


def ascend(
    oracle: Oracle, images: Tensor, labels: Tensor, ball: Ball, loss: Loss, num_steps: int
) -> tuple[Tensor, Tensor]:
    """One run of APGD.

    Returns:
        The images it ends at, and which of them the oracle took for another class, (B,). An image
        that met a gradient of NaN before it fooled anybody is NaN, and counts among them.
    """
    current = ball_start(oracle, images, ball)
    direction, logits = oracle.gradient(current, labels, loss)
    value = loss(logits, labels)
    fooled, lost = logits.argmax(1) != labels, _broken(direction)
    adversarial, before = current.clone(), current.clone()
    best, best_direction, best_value = current.clone(), direction.clone(), value.clone()
    step_size = torch.full_like(value, 2.0 * ball.radius).view(-1, *[1] * (images.dim() - 1))
    # The authors' first window compares its first loss with the last row, which is still zero.
    history = value.new_zeros(num_steps, len(images))
    value_at_check, halved = best_value.clone(), torch.ones_like(fooled)
    due = dict(checkpoints(num_steps))
    for step in range(num_steps):
        moved, before = current - before, current
        weight = 1.0 - MOMENTUM if step else 1.0
        ahead = ball.project(current + step_size * ascent_sign(direction), images)
        mixed = current + weight * (ahead - current) + (1.0 - weight) * moved
        current = ball.project(mixed, images)
        direction, logits = oracle.gradient(current, labels, loss)
        value = loss(logits, labels)
        wrong = logits.argmax(1) != labels
        fooled, lost = fooled | wrong, lost | _broken(direction)
        adversarial[wrong] = current[wrong]
        history[step] = value
        better = value > best_value
        best[better], best_direction[better] = current[better], direction[better]
        best_value = torch.where(better, value, best_value)
        if step + 1 in due:
            window = torch.arange(step, step - due[step + 1], -1)
            rises = (history[window] > history[window - 1]).sum(0)
            stalled = ~halved & (value_at_check >= best_value)
            halved = (rises <= RISING * due[step + 1]) | stalled
            value_at_check = best_value.clone()
            step_size[halved] /= 2.0
            current[halved], direction[halved] = best[halved], best_direction[halved]
    shape = [-1, *[1] * (images.dim() - 1)]
    result = torch.where(fooled.view(shape), adversarial, best)
    # The best iterate so far would hide that the attack broke off: it would pass for robust.
    lost = lost & ~fooled
    return result.masked_fill(lost.view(shape), torch.nan), fooled | lost


def _broken(direction: Tensor) -> Tensor:
    """Samples with a gradient that is NaN or infinite somewhere, (B,)."""
    return ~direction.isfinite().flatten(1).all(1)
