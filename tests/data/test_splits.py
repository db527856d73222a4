"""Splits are stratified, disjoint and the same for ever."""

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.data.dataset import Split
from pipeline.data.splits import (
    cap_test,
    split_off_test,
    split_off_validation,
    stratified_order,
)
from pipeline.errors import ConfigError

UNEVEN = np.repeat(np.arange(4), [50, 30, 15, 5]).astype(np.int64)


def numbered(labels: NDArray[np.int64]) -> Split:
    """Images whose only pixel is the sample's number."""
    pixels = np.arange(len(labels), dtype=np.uint8)
    return Split(images=pixels.reshape(-1, 1, 1, 1), labels=labels)


def numbers(split: Split) -> set[int]:
    return set(split.images.ravel().tolist())


def test_the_order_is_pinned() -> None:
    order = stratified_order(UNEVEN, seed=0)
    digest = hashlib.sha256(order.tobytes()).hexdigest()
    assert digest == "dcfc3b5be691eed9c2e731baabe914c02bf9742a83ac7cbe6ff14d04b049b391"
    assert order[:8].tolist() == [11, 59, 3, 92, 20, 53, 13, 62]
    assert not np.array_equal(order, stratified_order(UNEVEN, seed=1))
    assert not np.array_equal(order, stratified_order(UNEVEN, seed=0, stream=1))


def test_the_order_is_a_permutation_with_stratified_prefixes() -> None:
    order = stratified_order(UNEVEN, seed=3)
    assert sorted(order.tolist()) == list(range(100))
    share = np.bincount(UNEVEN) / 100
    for length in range(1, 101):
        counts = np.bincount(UNEVEN[order[:length]], minlength=4)
        assert np.abs(counts - length * share).max() <= 1.0


def test_equal_classes_give_equal_counts() -> None:
    labels = np.tile(np.arange(10), 20).astype(np.int64)
    order = stratified_order(labels, seed=0)
    for count in (10, 50, 100):
        assert np.bincount(labels[order[:count]]).tolist() == [count // 10] * 10


def test_one_sample_and_none() -> None:
    assert stratified_order(np.zeros(1, dtype=np.int64), 0).tolist() == [0]
    assert stratified_order(np.zeros(0, dtype=np.int64), 0).tolist() == []


def test_parts_are_disjoint_and_complete() -> None:
    rest, test = split_off_test(numbered(UNEVEN), 20, seed=0)
    train, validation = split_off_validation(rest, 30, None, seed=0)
    assert (len(train), len(validation), len(test)) == (50, 30, 20)
    assert numbers(train) | numbers(validation) | numbers(test) == set(range(100))
    for split in (train, validation, test):
        assert np.array_equal(split.labels, UNEVEN[split.images.ravel()])


def test_a_cap_on_training_leaves_validation_alone_and_is_nested() -> None:
    source = numbered(UNEVEN)
    _, validation = split_off_validation(source, 30, None, seed=0)
    small, same = split_off_validation(source, 30, 10, seed=0)
    large, _ = split_off_validation(source, 30, 40, seed=0)
    assert numbers(same) == numbers(validation)
    assert numbers(small) < numbers(large)
    assert numbers(large).isdisjoint(numbers(validation))


def test_a_mixed_test_split_keeps_its_order_and_a_sorted_one_does_not() -> None:
    mixed = numbered(np.tile(np.arange(4), 25).astype(np.int64))
    assert cap_test(mixed, None, seed=0) is mixed
    by_class = cap_test(numbered(UNEVEN), None, seed=0)
    assert np.bincount(by_class.head(20).labels).tolist() == [10, 6, 3, 1]
    assert numbers(cap_test(mixed, 7, seed=0)) < numbers(cap_test(mixed, 30, seed=0))
    assert len(cap_test(mixed, 100, seed=0)) == 100


@pytest.mark.parametrize(
    ("num_validation", "num_train", "message"),
    [
        (100, None, "data.num_validation: expected at most 99, as there are 100 training samples"),
        (30, 71, "data.num_train: expected at most 70, as there are 70 samples that validation"),
    ],
)
def test_more_than_there_is(num_validation: int, num_train: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        split_off_validation(numbered(UNEVEN), num_validation, num_train, seed=0)


def test_more_test_samples_than_there_are() -> None:
    with pytest.raises(ConfigError, match=r"^data.num_test: expected at most 100, as there are"):
        cap_test(numbered(UNEVEN), 101, seed=0)
    with pytest.raises(ConfigError, match=r"^data.num_test: expected at most 99.*one must be left"):
        split_off_test(numbered(UNEVEN), 100, seed=0)
