"""What every data set is, wherever it came from: three splits of images or event frames."""

# Shapes: N samples, T frames, C channels, H height, W width.
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.frame_file import open_rows

FRAME_DTYPES = ("float32", "float16", "uint8")


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    """Where in a file of frames the samples of a split lie: its first `count` rows."""

    path: Path
    split: str
    """`train`, `validation` or `test`."""
    count: int
    sha256: str | None = None
    """`rows_hash` of the rows, where they are all that the file has of this split."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Images or event frames with labels, in a fixed order; a sample is named by its position.

    One that lies in a file is pickled as the file's name, so that whoever unpickles it maps the
    file into memory in place of holding a copy.
    """

    images: NDArray[Any]
    """Images: shape (N, C, H, W), uint8, 0..255. Event frames: shape (N, T, 2, H, W), float32,
    float16 or uint8, numbers of events, perhaps of a read-only map. C-contiguous."""
    labels: NDArray[np.int64]
    """Shape (N,), each in 0..K-1."""
    stored: StoredRows | None = None
    """The file that the arrays are views of, if any."""

    def __post_init__(self) -> None:
        if self.images.ndim == 5:
            assert self.images.dtype.name in FRAME_DTYPES
        else:
            assert self.images.dtype == np.uint8
            assert self.images.ndim == 4
        assert self.images.flags.c_contiguous
        assert self.labels.dtype == np.int64
        assert self.labels.shape == self.images.shape[:1]

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[Callable[..., "Split"], tuple[Any, ...]]:
        if self.stored is None:
            return _split, (self.images, self.labels)
        return stored_split, (self.stored,)

    def head(self, count: int) -> "Split":
        """The first `count` samples, or all where there are fewer."""
        if count >= len(self):
            return self
        stored = self.stored and replace(self.stored, count=count, sha256=None)
        return Split(images=self.images[:count], labels=self.labels[:count], stored=stored)

    def take(self, positions: NDArray[np.int64]) -> "Split":
        """The samples at these positions, in this order, copied."""
        images = np.ascontiguousarray(self.images[positions])
        return Split(images=images, labels=self.labels[positions])

    def rows_hash(self) -> str:
        """SHA-256 over all values and labels; that of a whole split in a file is on record."""
        if self.stored is not None and self.stored.sha256 is not None:
            return self.stored.sha256
        return rows_hash(self.images, self.labels)


def _split(images: NDArray[Any], labels: NDArray[np.int64]) -> Split:
    return Split(images=images, labels=labels)


def stored_split(stored: StoredRows) -> Split:
    """The samples, mapped from their file.

    Raises:
        ConfigError: The file is gone, or is not a whole file of frames.
    """
    images, labels = open_rows(stored.path, stored.split)
    return Split(images=images[: stored.count], labels=labels[: stored.count], stored=stored)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A named data set; selection reads `validation`, only reporting reads `test`."""

    name: str
    train: Split
    validation: Split
    test: Split
    num_classes: int
    mean: tuple[float, ...]
    """Per channel, of pixels in [0, 1]; the first layer of a model subtracts it. 0 for frames."""
    std: tuple[float, ...]
    """Per channel, of pixels in [0, 1]; the first layer of a model divides by it. 1 for frames."""
    note: str
    """One plain sentence on what the data is."""
    scale: float = 1.0
    """The largest value of the training frames, in events; 1 for images."""

    def __post_init__(self) -> None:
        assert len(self.mean) == len(self.std) == self.channels
        for split in (self.train, self.validation, self.test):
            assert split.images.shape[1:] == self.train.images.shape[1:]

    @property
    def frames(self) -> bool:
        """Whether the samples are event frames, (T, 2, H, W), and not images."""
        return self.train.images.ndim == 5

    @property
    def num_frames(self) -> int | None:
        """Frames of a sample, T; None for images."""
        return int(self.train.images.shape[1]) if self.frames else None

    @property
    def channels(self) -> int:
        """Colour channels of an image, or polarities of a frame."""
        return int(self.train.images.shape[-3])

    @property
    def height(self) -> int:
        """Height of an image or a frame in pixels."""
        return int(self.train.images.shape[-2])

    @property
    def width(self) -> int:
        """Width of an image or a frame in pixels."""
        return int(self.train.images.shape[-1])

    def content_hash(self) -> str:
        """SHA-256 over all values and labels of the three splits, in their order.

        For frames, of the splits' own hashes: those in a file are on record, and gigabytes
        need not be read.
        """
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            if self.frames:
                digest.update(split.rows_hash().encode())
            else:
                _update(digest, split.images, split.labels)
        return digest.hexdigest()


def rows_hash(images: NDArray[Any], labels: NDArray[np.int64]) -> str:
    """SHA-256 over the arrays' types, shapes and values."""
    digest = hashlib.sha256()
    _update(digest, images, labels)
    return digest.hexdigest()


def _update(digest: Any, *arrays: NDArray[Any]) -> None:
    for array in arrays:
        # Without the shapes, moving a sample from one split to the next would go unseen.
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
