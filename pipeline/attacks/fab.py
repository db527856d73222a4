"""FAB-T (Croce & Hein, 2020b), by its authors' own package `pyautoattack`."""

import importlib.util
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.attacks.ball import Ball
from pipeline.attacks.oracle import Oracle, Remembering
from pipeline.config_types import Count, Epsilon

PACKAGE = "pyautoattack"


@dataclass(frozen=True, kw_only=True)
class FABConfig:
    """Looks for the nearest image of each rival class instead of the worst within the ball.

    The targeted version of AutoAttack's standard sequence. It needs the extra `autoattack`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Literal["fab"] = "fab"
    num_steps: Count = 100
    """Steps for each class."""
    num_targets: Count = 9
    """Classes tried in turn, the likeliest first."""
    epsilon: Epsilon | None = None
    """Radius; omitted, the evaluation's."""

    @property
    def gradient_steps(self) -> int:
        """Gradients that one sample may cost."""
        return self.num_steps * self.num_targets


def installed() -> bool:
    """Whether the authors' package is there."""
    return importlib.util.find_spec(PACKAGE) is not None


def fab(oracle: Oracle, images: Tensor, labels: Tensor, ball: Ball, config: FABConfig) -> Tensor:
    """Images that the package found within the radius; elsewhere the images themselves.

    It works in float32, on samples mapped to [0, 1], and counts passes for its whole batch.

    Raises:
        ArithmeticError: A gradient holds a NaN or an infinity.
    """
    from pyautoattack.fab_pt import FABAttack_PT

    # The package knows the box [0, 1] alone. A box without an upper end gets one out of reach.
    highest = ball.high if math.isfinite(ball.high) else float(images.max()) + ball.radius
    low, span = ball.low, highest - ball.low
    inner = ((ball.clip(images) - low) / span).float()

    def ask(asked: Tensor) -> Tensor:
        classifier, draws = oracle.classifier, range(oracle.eot_draws)
        if isinstance(classifier, Remembering):
            # The package asks about other samples each time: nothing can be remembered of them.
            classifier = classifier.fresh()
        return torch.stack([classifier(asked.to(images.dtype) * span + low) for _ in draws]).mean(0)

    def predict(asked: Tensor) -> Tensor:
        oracle.cost.forward[oracle.positions[: len(asked)]] += oracle.eot_draws
        return ask(asked).float()

    def differences(asked: Tensor, right: Tensor, wrong: Tensor) -> tuple[Tensor, Tensor]:
        """z_wrong - z_right and its gradient; the package's own leaves gradients on the weights."""
        spent = oracle.positions[: len(asked)]
        oracle.cost.forward[spent] += oracle.eot_draws
        oracle.cost.backward[spent] += oracle.eot_draws
        asked = asked.detach().requires_grad_()
        with torch.enable_grad():
            logits = ask(asked)
            pair = logits.gather(1, torch.stack([wrong, right], dim=1))
            difference = pair[:, 0] - pair[:, 1]
            (gradient,) = torch.autograd.grad(difference.sum(), asked)
        if not bool(torch.isfinite(gradient).all()):
            raise ArithmeticError("the attack fab met a gradient that is NaN or infinite")
        return difference.detach().float().unsqueeze(1), gradient.unsqueeze(1)

    num_classes = oracle.logits(images[:1]).shape[1] if len(images) else 2
    attack = FABAttack_PT(
        predict,
        n_iter=config.num_steps,
        eps=ball.radius / span,
        targeted=True,
        n_target_classes=min(config.num_targets, num_classes - 1),
        device=images.device,
    )
    attack.get_diff_logits_grads_batch_targeted = differences
    # The package seeds torch's global generator; the caller's stream goes on untouched.
    with torch.random.fork_rng(devices=[]):
        found: Tensor = attack.perturb(inner, labels)
    # What it left alone keeps its exact value.
    return torch.where(found == inner, images, found.to(images.dtype) * span + low)
