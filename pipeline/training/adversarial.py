"""Adversarial training (AT; Madry et al., 2018) with FGSM or PGD."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from models import GradientEstimator, oracle
from pipeline.attacks import IMAGES, Domain, FGSMConfig, PGDConfig, Threat, build_attack
from pipeline.config_types import Count, Epsilon, StepSize
from pipeline.fingerprint import fields_without_defaults
from pipeline.training.strategy import Perturb, Strategy

TrainingEstimator = Literal["bptr", "stbp"]
"""What a training attack may differentiate: firing rates, or the network through time."""
BallThreat = Literal["clamped", "counts", "scaled"]
"""Threat models of event frames in which an attack moves within a ball."""


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """The attack that training images go through; defaults as in Appendix D (PGD5)."""

    attack: Literal["pgd", "fgsm"] = "pgd"
    """Of the training images."""
    epsilon: Epsilon = 2 / 255
    """Radius of the training attack, in pixel units of [0, 1]."""
    num_steps: Count = 5
    """Steps of PGD; FGSM takes one."""
    step_size: StepSize = 0.01
    """Step of PGD, in pixel units."""
    random_start: bool = True
    """Whether PGD starts at a random point of the ball."""
    estimator: TrainingEstimator = "stbp"
    """What the training attack differentiates: the network through time, or its firing rates
    (BPTR), an approximation that saves a third of an attack step; docs/performance.md has its
    effect."""
    threat: BallThreat | None = None
    """What the training attack may do to event frames; omitted, `counts`. The paper's is
    `clamped`."""

    def identity(self) -> dict[str, Any]:
        """What counts when hashed."""
        return fields_without_defaults(self, "threat", "estimator")


@dataclass(frozen=True, kw_only=True)
class ATConfig(Perturbation):
    """Adversarial training: cross-entropy on attacked images alone."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Literal["at"]


def differentiated(model: nn.Module, estimator: TrainingEstimator) -> Callable[[Tensor], Tensor]:
    """The network as a training attack differentiates it."""
    return oracle(model, GradientEstimator(method="bptr")) if estimator == "bptr" else model


def perturb_by(config: Perturbation, domain: Domain) -> Perturb:
    """The perturbation as a function of (model, images, labels)."""
    budget = Threat.named(config.threat, domain).budget(config.epsilon)
    if config.attack == "fgsm":
        attack = build_attack(FGSMConfig(), budget)
    else:
        pgd = PGDConfig(
            num_steps=config.num_steps,
            step_size=config.step_size,
            random_start=config.random_start,
        )
        attack = build_attack(pgd, budget)

    def perturb(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return attack(differentiated(model, config.estimator), images, labels)

    return perturb


def adversarial_training(config: ATConfig, domain: Domain = IMAGES) -> Strategy:
    """Train on attacked images."""
    return Strategy(perturb=perturb_by(config, domain))
