"""The vectorised crop and flip against a loop that treats one image after the other."""

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.data.augmentation import AUGMENTATIONS, crop, crop_flip, none


def reference(images: Tensor, padding: int, *, flips: bool) -> Tensor:
    """Draws the same numbers, then pads, slices and mirrors each image by itself."""
    batch, channels, height, width = images.shape
    flipped = torch.rand(batch) < 0.5 if flips else torch.zeros(batch, dtype=torch.bool)
    tops, lefts = torch.randint(0, 2 * padding + 1, (2, batch, 1))[..., 0].tolist()
    out = torch.empty_like(images)
    for index in range(batch):
        padded = torch.zeros(
            channels, height + 2 * padding, width + 2 * padding, dtype=images.dtype
        )
        padded[:, padding : padding + height, padding : padding + width] = images[index]
        top, left = tops[index], lefts[index]
        window = padded[:, top : top + height, left : left + width]
        out[index] = window.flip(-1) if flipped[index] else window
    return out


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(64, 3, 32, 32), (16, 1, 8, 6), (1, 2, 5, 5)])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_equal_to_the_loop(shape: tuple[int, ...], dtype: torch.dtype, padding: int) -> None:
    images = torch.randint(0, 256, shape).to(dtype)
    for augment, flips in ((crop, False), (crop_flip, True)):
        torch.manual_seed(5)
        got = augment(images, padding)
        torch.manual_seed(5)
        assert torch.equal(got, reference(images, padding, flips=flips))
        assert got.dtype == dtype


def test_all_shifts_and_both_sides_occur_equally_often() -> None:
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4], image[0, 0, 4, 5] = 1.0, 2.0
    out = crop_flip(image.expand(20_000, 1, 9, 9), padding=2)
    rows, columns = np.divmod((out == 1.0).flatten(1).int().argmax(dim=1).numpy(), 9)
    counts = np.bincount(rows * 9 + columns, minlength=81)
    assert (counts > 0).sum() == 25
    assert np.all(np.abs(counts[counts > 0] - 800) < 150)
    mirrored = out.flatten(1).argmax(dim=1).numpy() % 9 < columns
    assert abs(mirrored.mean() - 0.5) < 0.02


def test_no_padding_leaves_crop_without_effect_and_none_has_none() -> None:
    images = torch.rand(4, 3, 8, 8)
    assert torch.equal(crop(images, padding=0), images)
    assert none(images) is images
    assert set(AUGMENTATIONS) == {"none", "crop", "crop_flip"}


def test_the_seed_decides_and_the_input_stays() -> None:
    images = torch.rand(32, 3, 8, 8)
    before = images.clone()
    torch.manual_seed(1)
    first = crop_flip(images)
    torch.manual_seed(1)
    assert torch.equal(crop_flip(images), first)
    assert not torch.equal(crop_flip(images), first)
    assert torch.equal(images, before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_stays_on_the_device() -> None:
    images = torch.rand(8, 3, 32, 32, device="cuda")
    assert crop_flip(images).device == images.device
