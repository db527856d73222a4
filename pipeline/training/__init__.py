"""Training strategies (what is perturbed, penalised, projected) and the one loop they share."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from pipeline.attacks import IMAGES, Domain
from pipeline.training.adversarial import ATConfig, adversarial_training
from pipeline.training.gradient_regularization import GRConfig, gradient_regularization
from pipeline.training.rat import RATConfig, rat
from pipeline.training.sparsity import SRConfig, SRStarConfig, sr, sr_star
from pipeline.training.strategy import Strategy
from pipeline.training.vanilla import VanillaConfig, vanilla

StrategyConfig = Annotated[
    VanillaConfig | ATConfig | RATConfig | GRConfig | SRConfig | SRStarConfig,
    Field(discriminator="method"),
]
STRATEGIES: dict[str, Callable[[Any, Domain], Strategy]] = {
    "vanilla": vanilla,
    "at": adversarial_training,
    "rat": rat,
    "gr": gradient_regularization,
    "sr": sr,
    "sr_star": sr_star,
}


def build_strategy(config: StrategyConfig, domain: Domain = IMAGES) -> Strategy:
    """The strategy that a config describes, for samples such as these.

    Raises:
        ValueError: The training attack's threat model is not for such samples.
    """
    return STRATEGIES[config.method](config, domain)


__all__ = ["STRATEGIES", "Strategy", "StrategyConfig", "build_strategy"]
