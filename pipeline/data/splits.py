"""Seeded, stratified splits that do not change with the version of any library."""

import numpy as np
from numpy.typing import NDArray

from pipeline.data.dataset import Split
from pipeline.errors import SettingError

_TEST_STREAM, _TRAIN_STREAM = 0, 1


def stratified_order(labels: NDArray[np.int64], seed: int, stream: int = 0) -> NDArray[np.int64]:
    """A random order of the samples in which every prefix is stratified.

    A prefix of m samples holds each class in its share of m, up to rounding; so a cap is a
    prefix, a larger cap contains a smaller one, and `Split.head` is representative. The order
    is made by sorting raw words of PCG64, whose stream numpy guarantees, unlike `shuffle`'s.

    Args:
        labels: Classes, shape (N,).
        seed: Any non-negative integer.
        stream: Tells apart several draws of one seed.

    Returns:
        A permutation of 0..N-1, shape (N,).
    """
    generator = np.random.PCG64(np.random.SeedSequence([seed, stream]))
    keys = np.asarray(generator.random_raw(len(labels)))
    by_class = np.lexsort((keys, labels))
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    starts = np.cumsum(counts) - counts
    rank = np.arange(len(labels)) - np.repeat(starts, counts)
    place = np.empty(len(labels))
    place[by_class] = (rank + 0.5) / counts[inverse[by_class]]
    return np.lexsort((keys, place)).astype(np.int64)


def split_off_test(source: Split, num_test: int, seed: int) -> tuple[Split, Split]:
    """Draws a test part where the source has none; returns what is left and the test part."""
    rest, test = drawn_test(source.labels, num_test, seed)
    return source.take(rest), source.take(test)


def split_off_validation(
    source: Split, num_validation: int, num_train: int | None, seed: int
) -> tuple[Split, Split]:
    """Draws validation, then training samples from the training part; returns train, validation.

    Validation comes first, so that it does not change with `num_train`.
    """
    train, validation = drawn_validation(source.labels, num_validation, num_train, seed)
    return source.take(train), source.take(validation)


def cap_test(test: Split, num_test: int | None, seed: int) -> Split:
    """A stratified draw of `num_test` test samples, or all of them; see `capped_test`."""
    positions = capped_test(test.labels, num_test, seed)
    return test if positions is None else test.take(positions)


def drawn_test(
    labels: NDArray[np.int64], num_test: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of what is left and of the test part that `split_off_test` draws."""
    _require("num_test", num_test, len(labels), "samples")
    order = stratified_order(labels, seed, _TEST_STREAM)
    return order[num_test:], order[:num_test]


def drawn_validation(
    labels: NDArray[np.int64], num_validation: int, num_train: int | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the training and validation samples of `split_off_validation`."""
    _require("num_validation", num_validation, len(labels), "training samples")
    left = len(labels) - num_validation
    _require("num_train", num_train, left, "samples that validation leaves", keep=0)
    order = stratified_order(labels, seed, _TRAIN_STREAM)
    stop = num_validation + (left if num_train is None else num_train)
    return order[num_validation:stop], order[:num_validation]


def capped_test(
    labels: NDArray[np.int64], num_test: int | None, seed: int
) -> NDArray[np.int64] | None:
    """Positions of `num_test` test samples, drawn stratified; None for all in their order.

    All of them keep the source's order, in which published results count samples, unless
    that order goes class by class: then the first samples would be of one class.
    """
    _require("num_test", num_test, len(labels), "test samples", keep=0)
    class_by_class = len(labels) > 1 and bool(np.all(np.diff(labels) >= 0))
    if num_test is None and not class_by_class:
        return None
    return stratified_order(labels, seed, _TEST_STREAM)[:num_test]


def _require(name: str, wanted: int | None, there: int, what: str, keep: int = 1) -> None:
    if wanted is not None and wanted > there - keep:
        raise SettingError(
            f"data.{name}",
            f"expected at most {there - keep}, as there are {there} {what}"
            f"{' and one must be left' if keep else ''}, got {wanted}; lower data.{name}",
        )
