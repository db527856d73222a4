"""Counts of gradient components, by hand."""

import torch

from pipeline.metrics.distribution import NUM_BINS, component_counts
from pipeline.records import BIN_EDGES


def bin_of(value: float) -> int:
    (counts,) = component_counts(torch.tensor([[value]], dtype=torch.float64))
    return int(counts.argmax())


def test_edges_are_symmetric_and_rise():
    assert list(BIN_EDGES) == sorted(BIN_EDGES)
    assert [-edge for edge in reversed(BIN_EDGES)] == list(BIN_EDGES)
    assert BIN_EDGES[-1] == 100
    assert NUM_BINS == len(BIN_EDGES) - 1 == 129


def test_every_component_is_in_the_bin_around_it():
    for value in (-3.0, -0.02, -1e-5, 0.0, 5e-7, 1e-5, 0.5, 42.0):
        place = bin_of(value)
        assert BIN_EDGES[place] <= value < BIN_EDGES[place + 1]


def test_what_lies_beyond_is_in_the_outer_bins():
    assert (bin_of(-1e9), bin_of(1e9)) == (0, NUM_BINS - 1)


def test_rows_sum_to_the_number_of_components():
    gradient = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    gradient[1] = 0
    counts = component_counts(gradient)
    assert counts.shape == (3, NUM_BINS)
    assert counts.sum(1).tolist() == [32, 32, 32]
    assert counts[1, NUM_BINS // 2] == 32
