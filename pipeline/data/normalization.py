"""Means and standard deviations that a model's first layer normalises by."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SettingError

Normalization = Literal["train", "none", "cifar10", "cifar100"]
Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, of pixels in [0, 1]."""

CIFAR10: Statistics = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
CIFAR100: Statistics = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)


def mean_and_std(normalization: Normalization, images: NDArray[np.uint8]) -> Statistics:
    """The named statistics, or those of the images, shape (N, C, H, W)."""
    channels = images.shape[1]
    if normalization == "none":
        return (0.0,) * channels, (1.0,) * channels
    if normalization == "train":
        pairs = [_moments(images[:, channel]) for channel in range(channels)]
        return tuple(mean for mean, _ in pairs), tuple(std for _, std in pairs)
    if channels != 3:
        raise SettingError(
            "data.normalization",
            f"{normalization} has three channels, the images have {channels}; write train or none",
        )
    return CIFAR10 if normalization == "cifar10" else CIFAR100


def _moments(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation in [0, 1], exact: summed as integers over the histogram."""
    counts = np.bincount(pixels.ravel(), minlength=256).tolist()
    total = sum(counts)
    first = sum(value * count for value, count in enumerate(counts))
    second = sum(value * value * count for value, count in enumerate(counts))
    variance = (total * second - first * first) / total**2
    # A constant channel carries nothing; it must not divide by zero.
    return first / total / 255, (variance**0.5 / 255) or 1.0
