"""Sparsity regularisation: SR, and SR* = SR on adversarial images (Sec. 4.3, Algorithm 1)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from pipeline.attacks import IMAGES, Domain
from pipeline.config_types import NonNegative, StepSize
from pipeline.logits import rival_class, two_class_probability
from pipeline.training.adversarial import Perturbation, perturb_by
from pipeline.training.finite_difference import PenaltyForm, difference_penalty
from pipeline.training.strategy import Penalty, Strategy


@dataclass(frozen=True, kw_only=True)
class Sparsity:
    """The penalty lambda * mean(((f2 - f1) / h)**2)."""

    sparsity_weight: NonNegative | None = None
    """The paper's lambda (a keyword in Python). Omitted, the paper's for the data set."""
    finite_difference_step: StepSize = 0.01
    """The paper's h, in pixel units of [0, 1]."""
    penalty: PenaltyForm = "squared"
    """`squared`, the released code's, or `absolute`, the paper's Eq. (14)."""


@dataclass(frozen=True, kw_only=True)
class SRConfig(Sparsity):
    """SR: the penalty on clean images."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Literal["sr"]


@dataclass(frozen=True, kw_only=True)
class SRStarConfig(Sparsity, Perturbation):
    """SR*: cross-entropy and penalty on images attacked as in AT."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Literal["sr_star"]


def sparsity_penalty(config: Sparsity) -> Penalty | None:
    """The weighted penalty; the rival class is chosen at x and kept at x + h d.

    Returns:
        None for lambda = 0.

    Raises:
        ValueError: lambda is not given.
    """
    weight = config.sparsity_weight
    if weight is None:
        raise ValueError(
            "sparsity_weight is not resolved: build the trial through SpaceConfig.trial"
        )
    if weight == 0:
        return None

    def penalty(model: nn.Module, images: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
        rival = rival_class(logits, labels)
        value = difference_penalty(
            model,
            images,
            labels,
            logits,
            lambda z: two_class_probability(z, labels, rival),
            step=config.finite_difference_step,
            form=config.penalty,
        )
        return weight * value

    return penalty


def sr(config: SRConfig, domain: Domain = IMAGES) -> Strategy:
    """Sparsity regularisation alone; lambda = 0 is plain training, step for step."""
    return Strategy(penalty=sparsity_penalty(config))


def sr_star(config: SRStarConfig, domain: Domain = IMAGES) -> Strategy:
    """Adversarial training with the sparsity penalty on the attacked images."""
    return Strategy(perturb=perturb_by(config, domain), penalty=sparsity_penalty(config))
