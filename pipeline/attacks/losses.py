"""Losses an attack maximises: logits (B, K) and labels (B,) to one value per sample, (B,)."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn import functional

from pipeline.logits import rival_class

LossName = Literal["cross_entropy", "margin"]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the softmax."""
    return functional.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest wrong logit minus the right one: positive means misclassified.

    Unlike cross-entropy it keeps its gradient where the softmax saturates (Carlini & Wagner).
    """
    rival = rival_class(logits, labels).unsqueeze(1)
    return (logits.gather(1, rival) - logits.gather(1, labels.unsqueeze(1))).squeeze(1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "margin": margin,
}
