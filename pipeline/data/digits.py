"""Handwritten digits that come with scikit-learn: no download, trained in seconds."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from pipeline.config_types import Count, CountOrZero
from pipeline.data.dataset import Dataset, Split
from pipeline.data.splits import split_off_test, split_off_validation


@dataclass(frozen=True, kw_only=True)
class DigitsConfig:
    """1,797 grey images of 8x8; test and validation are drawn by `split_seed`."""

    __pydantic_config__ = {"extra": "forbid"}

    dataset: Literal["digits"] = "digits"
    num_train: Count | None = None
    """Training samples; null takes all that are left."""
    num_validation: Count = 300
    """Drawn from what the test split leaves."""
    num_test: Count = 397
    """Drawn first, of all images."""
    split_seed: CountOrZero = 0
    """Draws the splits; another number gives other ones."""

    def identity(self) -> dict[str, Any]:
        """All that decides which samples come out, as JSON can hold it."""
        return asdict(self)


def load_digits(config: DigitsConfig) -> Dataset:
    """The digits; a pixel of k sixteenths is stored as round(255 * k / 16)."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    pixels = np.floor(255.0 * bunch.images / 16.0 + 0.5).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    rest, test = split_off_test(
        Split(images=pixels[:, None], labels=labels), config.num_test, config.split_seed
    )
    train, validation = split_off_validation(
        rest, config.num_validation, config.num_train, config.split_seed
    )
    return Dataset(
        name="digits",
        train=train,
        validation=validation,
        test=test,
        num_classes=10,
        mean=(0.0,),
        std=(1.0,),
        note="digits: 1,797 8x8 grey images from scikit-learn",
    )
