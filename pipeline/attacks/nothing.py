"""The adversary that changes nothing: what a threat model itself does to a sample."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from pipeline.attacks.oracle import Oracle


@dataclass(frozen=True, kw_only=True)
class NothingConfig:
    """The control of threat models that clamp or binarise: their accuracy without an attack."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    gradient_steps: ClassVar[int] = 0

    method: Literal["nothing"] = "nothing"


def nothing(
    oracle: Oracle, samples: Tensor, labels: Tensor, budget: Any, config: NothingConfig
) -> Tensor:
    """The samples, as the threat model's budget leaves them."""
    nearest: Tensor = budget.nearest(samples)
    return nearest
