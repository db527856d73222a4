"""What an attack is, and the guarantee the framework gives for all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pipeline.attacks.oracle import Classifier, Oracle

Attack = Callable[[Classifier | Oracle, Tensor, Tensor], Tensor]
"""Maps (oracle, images, labels) to adversarial images of the same shape."""
AttackFunction = Callable[[Oracle, Tensor, Tensor, Any, Any], Tensor]
"""An attack before its budget (`Ball` or `Flips`) and its own config are fixed."""


class Budget(Protocol):
    """What an adversary may reach from a sample."""

    def nearest(self, samples: Tensor) -> Tensor:
        """The samples as the adversary must leave them when it changes nothing."""
        ...

    def hold(self, adversarial: Tensor, samples: Tensor) -> Tensor:
        """What was found, brought back to what is allowed."""
        ...

    def distance(self, adversarial: Tensor, samples: Tensor) -> Tensor:
        """How far the adversary went, float64, shape (B,), in the budget's unit."""
        ...


@dataclass(frozen=True)
class Ball:
    """The L-infinity ball of radius `epsilon * unit`, and the box [low, high].

    Where a sample leaves the box by itself, as event counts leave [0, 1], it is clipped as
    torchattacks clips it: clip(x + delta), |delta| <= radius.
    """

    epsilon: float
    low: float = 0.0
    high: float = 1.0
    unit: float = 1.0
    """What a length of 1 in a configuration is, in the samples' own values."""

    @property
    def radius(self) -> float:
        """Largest change of an entry, in the samples' own values."""
        return self.epsilon * self.unit

    def clip(self, samples: Tensor) -> Tensor:
        """The nearest samples within the box."""
        return samples.clamp(self.low, self.high)

    def project(self, adversarial: Tensor, samples: Tensor) -> Tensor:
        """The nearest samples within ball and box."""
        radius = self.radius
        return self.clip(samples + (adversarial - samples).clamp(-radius, radius))

    def nearest(self, samples: Tensor) -> Tensor:
        """The samples within the box."""
        return self.clip(samples)

    def hold(self, adversarial: Tensor, samples: Tensor) -> Tensor:
        """`project`, but an entry already inside keeps its exact value.

        One unit in the last place can flip a spike.
        """
        inside = (adversarial - samples).abs() <= self.radius * (1 + 1e-6)
        inside &= (adversarial >= self.low) & (adversarial <= self.high)
        return torch.where(inside, adversarial, self.project(adversarial, samples))

    def distance(self, adversarial: Tensor, samples: Tensor) -> Tensor:
        """Largest change of an entry that the box itself does not ask for."""
        moved = (adversarial - self.clip(samples)).double().flatten(1).abs().amax(1)
        return moved / self.unit


def ascent_sign(direction: Tensor) -> Tensor:
    """Sign of a gradient; NaN where it is NaN or infinite.

    torch.sign(NaN) is 0: the attack would stand still and the sample pass for robust.
    """
    return direction.sign() + 0.0 * direction


def bounded(attack: AttackFunction, config: Any, budget: Budget) -> Attack:
    """Fix budget and config, and hold whatever comes back to the budget.

    Raises:
        ArithmeticError: From the attack returned, if an image holds a NaN or an infinity.
    """

    def held(oracle: Classifier | Oracle, images: Tensor, labels: Tensor) -> Tensor:
        asked = Oracle.of(oracle, labels)
        adversarial = attack(asked, images, labels, budget, config).detach()
        if not bool(torch.isfinite(adversarial).all()):
            raise ArithmeticError(f"the attack {config.method} made a pixel NaN or infinite")
        return budget.hold(adversarial, images)

    return held
