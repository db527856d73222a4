"""The vectorised crop and flip against a loop that treats one image after the other."""

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.data.augmentation import (
    AUGMENTATIONS,
    crop,
    crop_flip,
    cut_out,
    mirrored,
    nda,
    none,
    rolled,
    rotated,
)
from pipeline.data.torchvision_import import torchvision_datasets


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
    assert set(AUGMENTATIONS) == {"none", "crop", "crop_flip", "nda"}


def test_the_seed_decides_and_the_input_stays() -> None:
    images = torch.rand(32, 3, 8, 8)
    before = images.clone()
    torch.manual_seed(1)
    first = crop_flip(images)
    torch.manual_seed(1)
    assert torch.equal(crop_flip(images), first)
    assert not torch.equal(crop_flip(images), first)
    assert torch.equal(images, before)


# Event frames, and NDA's operations.


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_all_frames_of_a_sample_are_treated_alike(name: str) -> None:
    torch.manual_seed(2)
    image = torch.rand(64, 1, 2, 48, 48)
    out = AUGMENTATIONS[name](image.expand(64, 5, 2, 48, 48))
    assert out.shape == (64, 5, 2, 48, 48)
    assert torch.equal(out, out[:, :1].expand_as(out))
    assert not torch.equal(out[:, 0], image[:, 0])


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_frames_are_treated_as_their_channels_side_by_side_would_be(name: str) -> None:
    frames = torch.rand(16, 3, 2, 20, 24)
    torch.manual_seed(3)
    got = AUGMENTATIONS[name](frames)
    torch.manual_seed(3)
    assert torch.equal(got, AUGMENTATIONS[name](frames.flatten(1, 2)).view_as(frames))


def test_mirroring_by_hand_and_twice() -> None:
    images = torch.tensor([[[[1.0, 2.0, 3.0]]], [[[4.0, 5.0, 6.0]]]])
    chosen = torch.tensor([True, False])
    assert mirrored(images, chosen).flatten(1).tolist() == [[3, 2, 1], [4, 5, 6]]
    assert torch.equal(mirrored(mirrored(images, chosen), chosen), images)


def test_rolling_by_hand_and_by_torch() -> None:
    images = torch.arange(6.0).view(1, 1, 2, 3)
    assert rolled(images, torch.tensor([[1], [0]])).tolist() == [[[[3, 4, 5], [0, 1, 2]]]]
    assert rolled(images, torch.tensor([[0], [-1]])).tolist() == [[[[1, 2, 0], [4, 5, 3]]]]
    many = torch.rand(20, 4, 2, 9, 7)
    shifts = torch.randint(-5, 6, (2, 20))
    expected = [
        sample.roll(tuple(shift), (-2, -1))
        for sample, shift in zip(many, shifts.T.tolist(), strict=True)
    ]
    assert torch.equal(rolled(many, shifts), torch.stack(expected))


def test_cutting_out_by_hand() -> None:
    images = torch.ones(3, 1, 4, 5)
    out = cut_out(images, torch.tensor([[2, 0, 3], [2, 0, 4]]), side=2)
    # Rows and columns 1 and 2; the corner's first pixel; the corner's last four.
    assert (1 - out[0, 0]).nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert (1 - out[1, 0]).nonzero().tolist() == [[0, 0]]
    assert (1 - out[2, 0]).nonzero().tolist() == [[2, 3], [2, 4], [3, 3], [3, 4]]
    assert images.sum() == 60


def test_a_quarter_turn_by_hand() -> None:
    images = torch.arange(9.0).view(1, 1, 3, 3)
    got = rotated(images, torch.tensor([90.0]))
    assert got.tolist() == [[[[2, 5, 8], [1, 4, 7], [0, 3, 6]]]]
    assert torch.equal(rotated(images, torch.zeros(1)), images)


@pytest.mark.parametrize("size", [(48, 48), (40, 31)])
def test_rotation_is_torchvision_s(size: tuple[int, int]) -> None:
    torchvision_datasets()
    from torchvision.transforms.functional import rotate

    torch.manual_seed(0)
    images = torch.rand(30, 3, 2, *size)
    degrees = (2 * torch.rand(30) - 1) * 30
    theirs = [rotate(i, d) for i, d in zip(images, degrees.tolist(), strict=True)]
    # Where a place lies half-way between two pixels, rounding may choose the other.
    different = rotated(images, degrees) != torch.stack(theirs)
    assert different.float().mean() < 1e-3


def test_nda_does_one_thing_to_each_sample_and_each_equally_often() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 1, 48, 48) + 1
    out = nda(image.expand(3000, 2, 1, 48, 48))[:, 0, 0]
    original, mirror = image[0, 0, 0], image[0, 0, 0].flip(-1)
    flips = 0
    kinds = {"roll": 0, "cutout": 0, "rotation": 0}
    for sample in out:
        zeros = sample == 0
        agree = [torch.where(zeros, base, sample).eq(base).all() for base in (original, mirror)]
        if zeros.any() and any(agree):
            kinds["cutout"] += 1
            rows, columns = zeros.any(1).sum(), zeros.any(0).sum()
            assert zeros.sum() == rows * columns
            assert 8 <= rows <= 16
            assert 8 <= columns <= 16
            flips += int(agree[1])
        elif not zeros.any() and torch.equal(sample.sort(-1)[0].sort(0)[0], _sorted(original)):
            kinds["roll"] += 1
        else:
            kinds["rotation"] += 1
    assert all(abs(count - 1000) < 120 for count in kinds.values()), kinds
    assert abs(flips / kinds["cutout"] - 0.5) < 0.06


def _sorted(image: Tensor) -> Tensor:
    """What no roll and no mirror changes."""
    return image.sort(-1)[0].sort(0)[0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_stays_on_the_device() -> None:
    images = torch.rand(8, 3, 32, 32, device="cuda")
    for augment in (crop_flip, nda):
        assert augment(images).device == images.device
