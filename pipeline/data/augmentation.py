"""Random crops and flips of whole batches, on the images' device."""

# Shapes: B batch, C channels, H height, W width.
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

AugmentationName = Literal["none", "crop_flip", "crop"]
Augmentation = Callable[[Tensor], Tensor]
"""Maps images (B, C, H, W) to images of the same shape and type."""


def none(images: Tensor) -> Tensor:
    """The images themselves."""
    return images


def crop(images: Tensor, padding: int = 4) -> Tensor:
    """Each image shifted by up to `padding` pixels either way, with zeros moving in.

    Args:
        images: Shape (B, C, H, W), any type and device.
        padding: Zeros on each side before the crop to H x W, in pixels.
    """
    return _window(images, padding, flipped=None)


def crop_flip(images: Tensor, padding: int = 4) -> Tensor:
    """`crop`, then each image mirrored left to right with probability one half."""
    flipped = torch.rand(len(images), device=images.device) < 0.5
    return _window(images, padding, flipped)


AUGMENTATIONS: dict[AugmentationName, Augmentation] = {
    "none": none,
    "crop_flip": crop_flip,
    "crop": crop,
}


def _window(images: Tensor, padding: int, flipped: Tensor | None) -> Tensor:
    """Cuts one H x W window per image out of the padded batch in a single gather."""
    batch, channels, height, width = images.shape
    device = images.device
    corners = torch.randint(0, 2 * padding + 1, (2, batch, 1), device=device)
    rows = corners[0] + torch.arange(height, device=device)
    columns_in_window = torch.arange(width, device=device).expand(batch, width)
    if flipped is not None:
        mirrored = width - 1 - columns_in_window
        columns_in_window = torch.where(flipped[:, None], mirrored, columns_in_window)
    columns = corners[1] + columns_in_window
    padded = pad(images, (padding, padding, padding, padding))
    return padded[
        torch.arange(batch, device=device)[:, None, None, None],
        torch.arange(channels, device=device)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
