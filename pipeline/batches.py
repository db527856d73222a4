"""How many samples a network is asked about at once: as many as the memory holds."""

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

MOST = 512
"""Samples of a batch at most: more fill no processor better."""
MARGIN = 3.0
"""Memory of a pass, in units of what it keeps for the backward pass: gradients and workspace."""
SHARE = 0.5
"""Of a CPU's memory that batches may fill."""
_LIMIT = Path("/sys/fs/cgroup/memory.max")


def fitting_batch(
    model: nn.Module, ask: Callable[[Tensor], Tensor], images: Tensor, most: int = MOST
) -> int:
    """The largest power of two, at most `most`, that a forward and a backward pass have room for.

    What one sample keeps for its backward pass is measured with one forward pass. A CPU's memory
    is shared by as many workers as there are cores for; a GPU's is what is free on it.

    Args:
        model: The network; its weights are there once, whatever the batch.
        ask: The network as an attack differentiates it, images (B, C, H, W) -> logits (B, K).
        images: At least one, on the device.
        most: Upper limit.
    """
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = max(kept.get(place, 0), tensor.nbytes)
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        ask(images[:1].detach().requires_grad_())
    room = _room(images.device) / (MARGIN * max(sum(kept.values()), 1))
    return int(2 ** (min(max(int(room), 1), most).bit_length() - 1))


def _room(device: torch.device) -> float:
    """Bytes that one worker's batches may fill."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _LIMIT.read_text().strip() if _LIMIT.is_file() else "max"
    if limit.isdigit():  # a container's
        total = min(total, int(limit))
    return SHARE * total * min(torch.get_num_threads() / (os.cpu_count() or 1), 1.0)


def in_batches(positions: Tensor, size: int, work: Callable[[Tensor], None]) -> None:
    """Call `work` on pieces of the positions; one that does not fit on the GPU is halved.

    Args:
        positions: Shape (B,).
        size: Of a piece, at most.
        work: Done once for each position; what an interrupted call has done is done again.

    Raises:
        torch.OutOfMemoryError: A single sample does not fit.
    """
    waiting = list(positions.split(size))
    while waiting:
        piece = waiting[0]
        try:
            work(piece)
        except torch.OutOfMemoryError:
            if len(piece) == 1:
                raise
            torch.cuda.empty_cache()
            waiting = [half for whole in waiting for half in whole.split((len(piece) + 1) // 2)]
        else:
            waiting.pop(0)
