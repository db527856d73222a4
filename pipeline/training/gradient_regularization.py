"""Gradient regularisation (GR; Finlay & Oberman, 2021), Eq. (15): the same penalty on the loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from pipeline.attacks import IMAGES, Domain
from pipeline.config_types import NonNegative, StepSize
from pipeline.training.finite_difference import PenaltyForm, difference_penalty
from pipeline.training.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class GRConfig:
    """The penalty weight * mean(((loss(x + h d) - loss(x)) / h)**2), d = sign(grad loss)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Literal["gr"]
    gradient_weight: NonNegative
    """Weight of the penalty; the paper names it lambda too, but reports no value for GR."""
    finite_difference_step: StepSize = 0.01
    """h, in pixel units of [0, 1]."""
    penalty: PenaltyForm = "squared"
    """`squared` or `absolute`, of the difference quotient."""


def gradient_regularization(config: GRConfig, domain: Domain = IMAGES) -> Strategy:
    """Penalise how fast the cross-entropy rises."""

    def penalty(model: nn.Module, images: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
        value = difference_penalty(
            model,
            images,
            labels,
            logits,
            lambda z: functional.cross_entropy(z, labels, reduction="none"),
            step=config.finite_difference_step,
            form=config.penalty,
        )
        return config.gradient_weight * value

    return Strategy(penalty=penalty if config.gradient_weight else None)
