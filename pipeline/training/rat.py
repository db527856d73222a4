"""Regularised adversarial training (RAT; Ding et al., NeurIPS 2022, SNN-RAT)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from models.wide_resnet import ConvexCombination
from pipeline.attacks import (
    IMAGES,
    Domain,
    FGSMConfig,
    PGDConfig,
    RFGSMConfig,
    Threat,
    build_attack,
)
from pipeline.config_types import Count, Epsilon, NonNegative, StepSize
from pipeline.fingerprint import fields_without_defaults
from pipeline.training.adversarial import BallThreat, TrainingEstimator, differentiated
from pipeline.training.strategy import Perturb, Project, Strategy

MANY_ROWS = 200
"""Linear layers with at least so many rows are retracted on a random part of them."""
ROW_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class RATConfig:
    """A one-step attack through rate gradients, and Parseval retraction of the weights."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Literal["rat"]
    attack: Literal["mixed", "fgsm", "pgd"] = "mixed"
    """`mixed`: per batch FGSM or RFGSM at random, the paper's neighbourhoods (first release);
    `fgsm` or `pgd`: the one attack of the later release."""
    estimator: TrainingEstimator = "bptr"
    """What the training attack differentiates."""
    epsilon: Epsilon = 2 / 255
    """Radius of the training attack, in pixel units of [0, 1]."""
    num_steps: Count = 2
    """Steps of `pgd`."""
    step_size: StepSize = 1 / 255
    """Step of `pgd`, in pixel units."""
    beta: NonNegative = 0.002
    """Strength of the retraction; 0 switches retraction and simplex projection off."""
    weight_decay: NonNegative = 0.0
    """Replaces the training's weight decay: the released code sets 0 when it retracts."""
    threat: BallThreat | None = None
    """What the training attack may do to event frames; omitted, `counts`."""

    def identity(self) -> dict[str, Any]:
        """What counts when hashed."""
        return fields_without_defaults(self, "threat")


def retract(weight: Tensor, beta: float) -> Tensor:
    """One Parseval step (1 + beta) W - beta W W^T W towards orthonormal rows.

    Args:
        weight: Shape (out, ...); the other dimensions are flattened.
        beta: Step length.

    Returns:
        The retracted weight, same shape.
    """
    rows = weight.flatten(1)
    return ((1 + beta) * rows - beta * (rows @ rows.T @ rows)).view_as(weight)


def project_on_simplex(weights: Tensor) -> Tensor:
    """The nearest point, shape (n,), with no negative entry and sum 1 (Michelot's algorithm)."""
    descending = weights.sort(descending=True).values
    excess = descending.cumsum(0) - 1
    counts = torch.arange(1, len(weights) + 1, device=weights.device, dtype=weights.dtype)
    # Positive entries come first, so the last index that passes is also where passing stops.
    kept = int((descending * counts > excess).nonzero().max()) + 1
    return (weights - excess[kept - 1] / kept).clamp_min(0.0)


def _retracted(model: nn.Module) -> Iterator[tuple[Tensor, bool]]:
    """Weights to retract, and whether only a part of their rows is drawn at each step."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            yield layer.weight, False
        elif isinstance(layer, nn.Linear):
            yield layer.weight, layer.out_features >= MANY_ROWS


def _project_by(beta: float) -> Project:
    @torch.no_grad()
    def project(model: nn.Module) -> None:
        for weight, draw in _retracted(model):
            if draw:
                count = int(ROW_SHARE * len(weight))
                rows = torch.randperm(len(weight), device=weight.device)[:count]
                weight[rows] = retract(weight[rows], beta)
            else:
                weight.copy_(retract(weight, beta))
        for layer in model.modules():
            if isinstance(layer, ConvexCombination):
                layer.weights.copy_(project_on_simplex(layer.weights))

    return project


def _perturb_by(config: RATConfig, domain: Domain) -> Perturb:
    budget = Threat.named(config.threat, domain).budget(config.epsilon)
    single: dict[str, FGSMConfig | PGDConfig] = {
        "fgsm": FGSMConfig(),
        "pgd": PGDConfig(num_steps=config.num_steps, step_size=config.step_size),
    }
    kinds: list[FGSMConfig | RFGSMConfig | PGDConfig] = (
        [FGSMConfig(), RFGSMConfig(convention="rat")]
        if config.attack == "mixed"
        else [single[config.attack]]
    )
    attacks = [build_attack(kind, budget) for kind in kinds]

    def perturb(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        attack = attacks[int(torch.randint(len(attacks), ()))]
        return attack(differentiated(model, config.estimator), images, labels)

    return perturb


def rat(config: RATConfig, domain: Domain = IMAGES) -> Strategy:
    """Adversarial training on one-step attacks, with weights retracted after each step."""
    return Strategy(
        perturb=_perturb_by(config, domain),
        project=_project_by(config.beta) if config.beta else None,
        weight_decay=config.weight_decay if config.beta else None,
    )
