"""The digits, and what holds for every data set."""

import json
import subprocess
import sys

import numpy as np
import pytest
from pydantic import TypeAdapter

from pipeline.data import DATASETS, DataConfig, Dataset, DigitsConfig, Split, load_dataset
from pipeline.errors import ConfigError


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(DigitsConfig())


def test_shapes_and_counts(digits: Dataset) -> None:
    assert [len(s) for s in (digits.train, digits.validation, digits.test)] == [1100, 300, 397]
    assert (digits.channels, digits.height, digits.width) == (1, 8, 8)
    assert digits.num_classes == 10
    assert (digits.mean, digits.std) == ((0.0,), (1.0,))
    assert digits.note == "digits: 1,797 8x8 grey images from scikit-learn"
    for split in (digits.train, digits.validation, digits.test):
        assert split.images.dtype == np.uint8
        assert split.images.flags.c_contiguous


def test_the_content_is_pinned(digits: Dataset) -> None:
    expected = "949a7eb3275f158eb626394a97792314b0f9da90d204da3097ae0268d69ec95b"
    assert digits.content_hash() == expected
    assert load_dataset(DigitsConfig(split_seed=1)).content_hash() != digits.content_hash()


def test_splits_are_disjoint_and_stratified(digits: Dataset) -> None:
    from sklearn.datasets import load_digits

    splits = (digits.train, digits.validation, digits.test)
    # Four digits occur twice in scikit-learn's data, hence multisets.
    parts = sorted(image.tobytes() for split in splits for image in split.images)
    target = load_digits().target
    stored = (np.arange(17) * 255 / 16 + 0.5).astype(np.uint8)
    whole = sorted(image.astype(int).tobytes() for image in load_digits().images)
    back = np.searchsorted(stored, np.frombuffer(b"".join(parts), np.uint8)).reshape(-1, 64)
    assert sorted(image.astype(int).tobytes() for image in back) == whole
    for split in splits:
        expected = len(split) * np.bincount(target) / len(target)
        assert np.abs(np.bincount(split.labels) - expected).max() <= 1.5
        assert np.bincount(split.head(50).labels, minlength=10).min() >= 4


def test_pixels_are_rounded_sixteenths(digits: Dataset) -> None:
    expected = {round(255 * k / 16) for k in range(17)}
    assert set(np.unique(digits.train.images).tolist()) == expected


def test_caps_and_their_limits() -> None:
    small = load_dataset(DigitsConfig(num_train=20, num_validation=10, num_test=30))
    assert (len(small.train), len(small.validation), len(small.test)) == (20, 10, 30)
    with pytest.raises(ConfigError, match=r"^data.num_train: expected at most 1100"):
        load_dataset(DigitsConfig(num_train=1101))


def test_head() -> None:
    split = Split(images=np.zeros((3, 1, 2, 2), np.uint8), labels=np.arange(3))
    assert split.head(2).labels.tolist() == [0, 1]
    assert len(split.head(9)) == 3


def test_moving_a_sample_between_splits_changes_the_hash(digits: Dataset) -> None:
    both = Split(
        images=np.concatenate([digits.validation.images, digits.test.images]),
        labels=np.concatenate([digits.validation.labels, digits.test.labels]),
    )
    positions = np.arange(len(both))

    def with_validation(count: int) -> Dataset:
        return Dataset(
            name="x", train=digits.train, validation=both.take(positions[:count]),
            test=both.take(positions[count:]), num_classes=10, mean=(0.0,), std=(1.0,), note="",
        )  # fmt: skip

    assert with_validation(300).content_hash() == digits.content_hash()
    assert with_validation(299).content_hash() != digits.content_hash()


def test_every_config_has_a_loader_and_a_json_identity() -> None:
    adapter: TypeAdapter[DataConfig] = TypeAdapter(DataConfig)
    for name in ("digits", "cifar10", "cifar100"):
        config = adapter.validate_python({"dataset": name, "num_train": 5})
        identity = config.identity()
        assert json.loads(json.dumps(identity)) == identity
        assert identity["num_train"] == 5
        assert not {"root", "download"} & set(identity)
    assert set(DATASETS) == {"digits", "cifar10", "cifar100", "parquet"}


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, pipeline.data, pipeline.data.augmentation\n"
        "heavy = {'sklearn', 'torchvision', 'pyarrow', 'PIL', 'ray', 'optuna', 'mlflow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
