"""Random crops, flips, rolls, rotations and cutouts of whole batches, on the images' device."""

# Shapes: B batch, T frames, C channels, H height, W width. Images are (B, C, H, W), event frames
# (B, T, C, H, W); what is drawn for a sample is the same for all of its frames and channels.
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

AugmentationName = Literal["none", "crop_flip", "crop", "nda"]
Augmentation = Callable[[Tensor], Tensor]
"""Maps images or event frames to ones of the same shape and type."""

MAX_ROLL = 5
"""Of NDA, in pixels."""
MAX_DEGREES = 30.0
"""Of NDA's rotation, either way."""
CUTOUT_SIDE = 16
"""Of NDA's cutout, in pixels."""


def none(images: Tensor) -> Tensor:
    """The images themselves."""
    return images


def crop(images: Tensor, padding: int = 4) -> Tensor:
    """Each sample shifted by up to `padding` pixels either way, with zeros moving in.

    Args:
        images: Shape (B, ..., H, W), any type and device.
        padding: Zeros on each side before the crop to H x W, in pixels.
    """
    return _window(images, padding, flipped=None)


def crop_flip(images: Tensor, padding: int = 4) -> Tensor:
    """`crop`, then each sample mirrored left to right with probability one half."""
    flipped = torch.rand(len(images), device=images.device) < 0.5
    return _window(images, padding, flipped)


def nda(images: Tensor) -> Tensor:
    """Mirrors with probability one half, then rolls, rotates or cuts out, each equally often.

    Neuromorphic data augmentation (Li et al., ECCV 2022) with the operations and the sizes that
    are usual for CIFAR10-DVS at 48x48 (N = 2, M = 1): one operation a sample. A roll is by up to 5
    pixels along each axis, a rotation by up to 30 degrees about the middle, to the nearest pixel
    and with zeros moving in; a cutout sets a square of 16 pixels to zero, the part of it that lies
    inside. The authors' released code has a shear in the cutout's place.

    Args:
        images: Shape (B, ..., H, W), floating point, any device.
    """
    batch, device = len(images), images.device
    height, width = images.shape[-2:]
    flipped = torch.rand(batch, device=device) < 0.5
    operation = torch.randint(0, 3, (batch,), device=device)
    shifts = torch.randint(-MAX_ROLL, MAX_ROLL + 1, (2, batch), device=device)
    degrees = (2 * torch.rand(batch, device=device) - 1) * MAX_DEGREES
    middles = torch.stack(
        [torch.randint(0, size, (batch,), device=device) for size in (height, width)]
    )
    images = mirrored(images, flipped)
    images = rolled(images, torch.where(operation == 0, shifts, 0))
    images = torch.where(_like(operation == 1, images), rotated(images, degrees), images)
    return torch.where(_like(operation == 2, images), cut_out(images, middles), images)


AUGMENTATIONS: dict[AugmentationName, Augmentation] = {
    "none": none,
    "crop_flip": crop_flip,
    "crop": crop,
    "nda": nda,
}


def mirrored(images: Tensor, chosen: Tensor) -> Tensor:
    """The samples that `chosen`, bool (B,), marks mirrored left to right."""
    return torch.where(_like(chosen, images), images.flip(-1), images)


def rolled(images: Tensor, shifts: Tensor) -> Tensor:
    """Each sample rolled down and to the right by its `shifts`, (2, B); what leaves comes in."""
    height, width = images.shape[-2:]
    rows = (torch.arange(height, device=images.device) - shifts[0][:, None]) % height
    columns = (torch.arange(width, device=images.device) - shifts[1][:, None]) % width
    return _gather(images, rows, columns)


def rotated(images: Tensor, degrees: Tensor) -> Tensor:
    """Each sample rotated anticlockwise about its middle by its `degrees`, (B,).

    To the nearest pixel, zeros moving in, as torchvision's `rotate` has it.
    """
    batch, (height, width) = len(images), images.shape[-2:]
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    zero = torch.zeros_like(cos)
    # From a place in the output to the one in the input, in pixels from the middle.
    matrix = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(batch, 2, 3)
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = torch.arange(height, device=images.device) - (height - 1) / 2
    places = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
    source = torch.einsum("bij,jhw->bhwi", matrix[:, :, :2], places)
    grid = source / torch.tensor([width / 2, height / 2], device=images.device)
    planes = images.reshape(batch, -1, height, width)
    turned = grid_sample(planes, grid.to(images.dtype), "nearest", "zeros", align_corners=False)
    return turned.view_as(images)


def cut_out(images: Tensor, middles: Tensor, side: int = CUTOUT_SIDE) -> Tensor:
    """Each sample with zeros in a square around its middle, `middles` (2, B): row, column.

    The square has `side` // 2 pixels before its middle and as many from it on.
    """
    height, width = images.shape[-2:]
    inside = []
    for size, middle in zip((height, width), middles, strict=True):
        offset = torch.arange(size, device=images.device) - middle[:, None]
        inside.append((offset >= -(side // 2)) & (offset < side // 2))
    square = inside[0][:, :, None] & inside[1][:, None, :]
    between = [1] * (images.ndim - 3)
    return images.masked_fill(square.view(len(images), *between, height, width), 0)


def _like(chosen: Tensor, images: Tensor) -> Tensor:
    """A value a sample, (B,), in a shape that broadcasts over the images."""
    return chosen.view(-1, *[1] * (images.ndim - 1))


def _window(images: Tensor, padding: int, flipped: Tensor | None) -> Tensor:
    """Cuts one H x W window per sample out of the padded batch in a single gather."""
    batch, (height, width) = len(images), images.shape[-2:]
    device = images.device
    corners = torch.randint(0, 2 * padding + 1, (2, batch, 1), device=device)
    rows = corners[0] + torch.arange(height, device=device)
    columns_in_window = torch.arange(width, device=device).expand(batch, width)
    if flipped is not None:
        mirrored_columns = width - 1 - columns_in_window
        columns_in_window = torch.where(flipped[:, None], mirrored_columns, columns_in_window)
    columns = corners[1] + columns_in_window
    return _gather(pad(images, (padding, padding, padding, padding)), rows, columns)


def _gather(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels at each sample's own rows, (B, H'), and columns, (B, W')."""
    batch = len(images)
    planes = images.reshape(batch, -1, *images.shape[-2:])
    picked = planes[
        torch.arange(batch, device=images.device)[:, None, None, None],
        torch.arange(planes.shape[1], device=images.device)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
    return picked.view(*images.shape[:-2], rows.shape[1], columns.shape[1])
