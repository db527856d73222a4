"""What attacks, penalties and metrics read off logits: the rival class, and f_y of Eq. (9)."""

import torch
from torch import Tensor
from torch.nn import functional


def rival_class(logits: Tensor, labels: Tensor) -> Tensor:
    """The wrong class with the largest logit, shape (B,), of logits (B, K)."""
    own = functional.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(own, -torch.inf).argmax(1)


def two_class_probability(logits: Tensor, labels: Tensor, rival: Tensor) -> Tensor:
    """f_y = exp(z_y) / (exp(z_y) + exp(z_rival)), shape (B,), in its overflow-free form."""
    right = logits.gather(1, labels.unsqueeze(1))
    wrong = logits.gather(1, rival.unsqueeze(1))
    return torch.sigmoid((right - wrong).squeeze(1))
