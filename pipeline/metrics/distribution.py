"""How the components of a gradient are distributed (Fig. 4): counts in logarithmic bins."""

import torch
from torch import Tensor

from pipeline.records import BIN_EDGES

NUM_BINS = len(BIN_EDGES) - 1


def component_counts(gradient: Tensor) -> Tensor:
    """Counts of each sample's components by bin.

    Args:
        gradient: Shape (B, ...).

    Returns:
        int64, shape (B, NUM_BINS); a row sums to the number of components.
    """
    flat = gradient.flatten(1).double()
    inner = torch.tensor(BIN_EDGES[1:-1], dtype=flat.dtype, device=flat.device)
    bins = torch.bucketize(flat, inner, right=True)
    counts = torch.zeros(len(flat), NUM_BINS, dtype=torch.int64, device=flat.device)
    return counts.scatter_add_(1, bins, torch.ones_like(bins))
