"""Random start plus one FGSM step, in the two conventions that share the name."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from pipeline.attacks.ball import Ball, ascent_sign
from pipeline.attacks.losses import LOSSES, LossName
from pipeline.attacks.oracle import Oracle
from pipeline.config_types import Count, Epsilon, StepSize


@dataclass(frozen=True, kw_only=True)
class RFGSMConfig:
    """RFGSM as Table 3 used it (`torchattacks`) or as SNN-RAT trains with it (`rat`).

    `torchattacks` is version 3.2.7 at its defaults: start at a random corner of the alpha-cube,
    step alpha, clip to epsilon; where the signs disagree a pixel ends unchanged. `rat` steps
    epsilon - alpha from a random corner of the alpha-cube, alpha = epsilon / 2 (Tramer et al.).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Literal["rfgsm"] = "rfgsm"
    convention: Literal["torchattacks", "rat"] = "torchattacks"
    """Whose RFGSM it is."""
    alpha: StepSize | None = None
    """Random step; omitted, 8/255 (torchattacks) or epsilon / 2 (rat)."""
    num_restarts: Count = 1
    """Further tries for what still stands, each from a start of its own."""
    loss: LossName = "cross_entropy"
    """What is raised."""
    epsilon: Epsilon | None = None
    """Radius; omitted, the evaluation's."""

    @property
    def gradient_steps(self) -> int:
        """Gradients that one sample may cost."""
        return self.num_restarts


def rfgsm(
    oracle: Oracle, images: Tensor, labels: Tensor, ball: Ball, config: RFGSMConfig
) -> Tensor:
    """Images after a random corner step and a gradient sign step."""
    if config.convention == "rat":
        alpha = ball.epsilon / 2 if config.alpha is None else min(config.alpha, ball.epsilon)
        start = ball.clip(images + alpha * ball.unit * oracle.draws.signs(images))
        direction, _ = oracle.gradient(start, labels, LOSSES[config.loss])
        return ball.clip(start + (ball.epsilon - alpha) * ball.unit * ascent_sign(direction))
    alpha = ball.unit * (8 / 255 if config.alpha is None else config.alpha)
    start = ball.clip(images + alpha * oracle.draws.signs(images))
    direction, _ = oracle.gradient(start, labels, LOSSES[config.loss])
    return ball.project(start + alpha * ascent_sign(direction), images)
