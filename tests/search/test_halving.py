"""Who goes on half-way, computed by hand; and what a look at a network counts."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data import Split
from pipeline.quick_look import NAME, QuickLook
from pipeline.search.halving import HalvingConfig, hopeless


@pytest.mark.parametrize(
    ("first", "factor", "epochs", "expected"),
    [(5, 3, 100, [5, 15, 45]), (1, 2, 8, [1, 2, 4]), (4, 3, 4, []), (4, 3, 5, [4])],
)
def test_looks_come_before_the_last_epoch(first, factor, epochs, expected):
    assert HalvingConfig(first_epoch=first, factor=factor).looks(epochs) == expected


def test_the_first_trial_and_those_that_none_beats_go_on():
    assert hopeless((0.1, 0.0), [], factor=3) == ""
    front = [(0.9, 0.1), (0.8, 0.2), (0.7, 0.3), (0.6, 0.4)]
    for index, point in enumerate(front):
        others = front[:index] + front[index + 1 :]
        assert hopeless(point, others, factor=100) == ""
    assert hopeless((0.9, 0.1), [(0.9, 0.1)] * 9, factor=9) == ""  # equal is not beaten


def test_of_the_rest_the_best_fronts_go_on_up_to_one_in_factor():
    # Three fronts of two: (0.9, 0.2) and (0.8, 0.3), then each a tenth lower in both, and again.
    fronts = [[(0.9, 0.2), (0.8, 0.3)], [(0.8, 0.1), (0.7, 0.2)], [(0.7, 0.0), (0.6, 0.1)]]
    points = [point for front in fronts for point in front]
    for factor in (2, 3, 6):
        stopped = [
            bool(hopeless(point, points[:i] + points[i + 1 :], factor=factor))
            for i, point in enumerate(points)
        ]
        # 6 / 2 = 3 may go on: the second front has two before it, the third four.
        expected = [False, False, factor > 2, factor > 2, True, True]
        assert stopped == expected
    assert hopeless((0.6, 0.1), points[:-1], factor=3) == (
        "4 of 6 trials were better there, and 2 may go on"
    )


class Bright(nn.Module):
    """Class 1 above a mean of one half."""

    def forward(self, images):
        excess = images.flatten(1).mean(1) - 0.5
        return torch.stack([-excess, excess], dim=1)


def test_a_look_counts_what_stands_and_leaves_the_random_numbers_alone():
    values = np.array([255, 150, 140, 100, 255], dtype=np.uint8)  # 0.5 is between 127 and 128
    split = Split(
        images=np.broadcast_to(values[:, None, None, None], (5, 1, 2, 2)).copy(),
        labels=np.array([1, 1, 1, 1, 0]),
    )
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    look = QuickLook(epochs=(2,), epsilon=20 / 255, num_samples=5, num_steps=10)
    model, state = Bright().train(), torch.get_rng_state()
    assert look.metrics(model, images, labels, epoch=1, seed=0) == {}
    # 255 stands, 150 is 22 steps from the border and stands, 140 falls; the others are wrong clean.
    assert look.metrics(model, images, labels, epoch=2, seed=0) == {NAME: 0.4}
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    fewer = QuickLook(epochs=(2,), epsilon=20 / 255, num_samples=2, num_steps=10)
    assert fewer.metrics(model, images, labels, epoch=2, seed=0) == {NAME: 1.0}
