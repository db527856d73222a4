"""What attacks, penalties and metrics read off logits: rival class, margin, f_y of Eq. (9)."""

import torch
from torch import Tensor
from torch.nn import functional


def rival_class(logits: Tensor, labels: Tensor) -> Tensor:
    """The wrong class with the largest logit, shape (B,), of logits (B, K)."""
    own = functional.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(own, -torch.inf).argmax(1)


def difference(logits: Tensor, wrong: Tensor, labels: Tensor) -> Tensor:
    """z_wrong - z_label, shape (B,)."""
    pair = logits.gather(1, torch.stack([wrong, labels], dim=1))
    return pair[:, 0] - pair[:, 1]


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest wrong logit minus the right one, shape (B,): positive means misclassified.

    Unlike cross-entropy it keeps its gradient where the softmax saturates (Carlini & Wagner).
    """
    return difference(logits, rival_class(logits, labels), labels)


def two_class_probability(logits: Tensor, labels: Tensor, rival: Tensor) -> Tensor:
    """f_y = exp(z_y) / (exp(z_y) + exp(z_rival)), shape (B,), in its overflow-free form."""
    return torch.sigmoid(-difference(logits, rival, labels))
