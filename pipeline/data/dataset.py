"""What every data set is, wherever it came from: three splits of images with labels."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Images and labels in a fixed order; a sample is named by its position."""

    images: NDArray[np.uint8]
    """Shape (N, C, H, W), C-contiguous, 0..255."""
    labels: NDArray[np.int64]
    """Shape (N,), each in 0..K-1."""

    def __post_init__(self) -> None:
        assert self.images.dtype == np.uint8
        assert self.images.ndim == 4
        assert self.images.flags.c_contiguous
        assert self.labels.dtype == np.int64
        assert self.labels.shape == self.images.shape[:1]

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, count: int) -> "Split":
        """The first `count` samples, or all where there are fewer."""
        return Split(images=self.images[:count], labels=self.labels[:count])

    def take(self, positions: NDArray[np.int64]) -> "Split":
        """The samples at these positions, in this order."""
        images = np.ascontiguousarray(self.images[positions])
        return Split(images=images, labels=self.labels[positions])


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A named data set; selection reads `validation`, only reporting reads `test`."""

    name: str
    train: Split
    validation: Split
    test: Split
    num_classes: int
    mean: tuple[float, ...]
    """Per channel, of pixels in [0, 1]; the first layer of a model subtracts it."""
    std: tuple[float, ...]
    """Per channel, of pixels in [0, 1]; the first layer of a model divides by it."""
    note: str
    """One plain sentence on what the data is."""

    def __post_init__(self) -> None:
        assert len(self.mean) == len(self.std) == self.channels
        for split in (self.train, self.validation, self.test):
            assert split.images.shape[1:] == self.train.images.shape[1:]

    @property
    def channels(self) -> int:
        """Colour channels of an image."""
        return int(self.train.images.shape[1])

    @property
    def height(self) -> int:
        """Height of an image in pixels."""
        return int(self.train.images.shape[2])

    @property
    def width(self) -> int:
        """Width of an image in pixels."""
        return int(self.train.images.shape[3])

    def content_hash(self) -> str:
        """SHA-256 over all pixels and labels of the three splits, in their order."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            for array in (split.images, split.labels):
                digest.update(_header(array))
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def _header(array: NDArray[Any]) -> bytes:
    # Without the shapes, moving a sample from one split to the next would go unseen.
    return f"{array.dtype.str}{array.shape}".encode()
