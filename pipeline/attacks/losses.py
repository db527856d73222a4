"""Losses an attack maximises: logits (B, K) and labels (B,) to one value per sample, (B,)."""

from typing import Literal

from torch import Tensor
from torch.nn import functional

from pipeline.attacks.oracle import Loss
from pipeline.logits import difference, margin

LossName = Literal["cross_entropy", "scaled_cross_entropy", "margin", "dlr"]
LARGEST_LOGIT = 10.0


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the softmax."""
    return functional.cross_entropy(logits, labels, reduction="none")


def scaled_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits scaled until the largest is 10: no factor in them can blunt it."""
    largest = logits.detach().abs().amax(1, keepdim=True)
    return cross_entropy(logits * (LARGEST_LOGIT / (largest + 1e-12)), labels)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio: the margin over z_(1) - z_(3); no scaling changes it.

    Eq. (6) of Croce & Hein (2020).

    Raises:
        ValueError: There are fewer than three classes.
    """
    _at_least(3, logits)
    ordered = logits.sort(dim=1, descending=True).values
    return margin(logits, labels) / (ordered[:, 0] - ordered[:, 2] + 1e-12)


def targeted_dlr(target: Tensor) -> Loss:
    """The DLR loss towards one wrong class a sample, (B,).

    (z_target - z_label) / (z_(1) - (z_(3) + z_(4)) / 2); Eq. (7) of Croce & Hein (2020).

    Raises:
        ValueError: From the loss returned, if there are fewer than four classes.
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        _at_least(4, logits)
        ordered = logits.sort(dim=1, descending=True).values
        scale = ordered[:, 0] - 0.5 * (ordered[:, 2] + ordered[:, 3]) + 1e-12
        return difference(logits, target, labels) / scale

    return loss


def _at_least(count: int, logits: Tensor) -> None:
    if logits.shape[1] < count:
        raise ValueError(
            f"the loss dlr needs at least {count} classes, got {logits.shape[1]}; use margin"
        )


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "scaled_cross_entropy": scaled_cross_entropy,
    "margin": margin,
    "dlr": dlr,
}
