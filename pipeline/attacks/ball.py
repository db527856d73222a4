"""What an attack is, and the guarantee the framework gives for all of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pipeline.attacks.oracle import Classifier, Oracle

Attack = Callable[[Classifier | Oracle, Tensor, Tensor], Tensor]
"""Maps (oracle, images, labels) to adversarial images of the same shape."""
AttackFunction = Callable[[Oracle, Tensor, Tensor, float, Any], Tensor]
"""An attack before its radius epsilon and its own config are fixed."""


def project(adversarial: Tensor, images: Tensor, epsilon: float) -> Tensor:
    """The nearest images within the L-infinity ball of radius epsilon and the box [0, 1]."""
    delta = (adversarial - images).clamp(-epsilon, epsilon)
    return (images + delta).clamp(0.0, 1.0)


def ascent_sign(direction: Tensor) -> Tensor:
    """Sign of a gradient; NaN where it is NaN or infinite.

    torch.sign(NaN) is 0: the attack would stand still and the sample pass for robust.
    """
    return direction.sign() + 0.0 * direction


def bounded(attack: AttackFunction, config: Any, epsilon: float) -> Attack:
    """Fix radius and config, and hold whatever comes back to the ball and the box.

    Raises:
        ArithmeticError: From the attack returned, if an image holds a NaN or an infinity.
    """

    def held(oracle: Classifier | Oracle, images: Tensor, labels: Tensor) -> Tensor:
        asked = Oracle.of(oracle, labels)
        adversarial = attack(asked, images, labels, epsilon, config).detach()
        if not bool(torch.isfinite(adversarial).all()):
            raise ArithmeticError(f"the attack {config.method} made a pixel NaN or infinite")
        # A pixel already inside keeps its exact value: one unit in the last place can flip a spike.
        inside = (adversarial - images).abs() <= epsilon * (1 + 1e-6)
        inside &= (adversarial >= 0.0) & (adversarial <= 1.0)
        return torch.where(inside, adversarial, project(adversarial, images, epsilon))

    return held
