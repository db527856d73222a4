"""Square Attack by hand: the squares' sides, what a query changes, when it stops."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.attacks import Ball, Oracle, SampleDraws, SquareConfig, build_attack
from pipeline.attacks.square import side, square
from pipeline.logits import margin

Batch = Callable[..., tuple[Tensor, Tensor]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # Of 10,000: 0.8 of 32 * 32 is 819, whose root is 28.6; then halves of that area.
        (0, 29),
        (10, 29),
        (11, 20),
        (50, 20),
        (51, 14),
        (200, 14),
        (201, 10),
        (500, 10),
        (501, 7),
        (1000, 7),
        (1001, 5),
        (2000, 5),
        (2001, 4),
        (4000, 4),
        (4001, 3),
        (6000, 3),
        (6001, 2),
        (8000, 2),
        (8001, 1),
        (9999, 1),
    ],
)
def test_side_by_hand(query: int, expected: int) -> None:
    config = SquareConfig(num_queries=10_000)
    assert side(query, config, 32, 32) == expected
    # Half as many queries go through the same schedule twice as fast.
    half = SquareConfig(num_queries=5_000)
    if query % 2 == 0:
        assert side(query // 2, half, 32, 32) == expected


def test_side_fits_the_image() -> None:
    config = SquareConfig(num_queries=100, share=1.0)
    assert side(0, config, 2, 30) == 2
    assert side(0, config, 30, 2) == 2
    assert side(99, SquareConfig(num_queries=100, share=0.0), 8, 8) == 1


class Given:
    """Stripes of +1, then the shared numbers one after another."""

    def __init__(self, *shared: Sequence[float]) -> None:
        self.numbers = [torch.tensor(numbers, dtype=torch.float64) for numbers in shared]

    def uniform(self, like: Tensor, low: float, high: float) -> Tensor:
        assert like.shape[2] == 1
        return torch.ones_like(like)

    def shared(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        return self.numbers.pop(0).view(tuple(shape))

    def narrowed(self, keep: Tensor) -> "Given":
        return self


def test_two_queries_by_hand() -> None:
    """On 4 x 4 pixels, two channels: squares of side round(sqrt(0.3 * 16)) = 2, then of side 1.

    The network wants a small mean. The first square, down in all channels at row 1 (0.9 * 2) and
    column 0, lowers it and stays; the second raises it and goes.
    """
    images = torch.full((1, 2, 4, 4), 0.5, dtype=torch.float64)
    images[0, 0, 1, 0] = 0.02

    def network(seen: Tensor) -> Tensor:
        score = 0.3 - seen.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(score), score], dim=1)

    draws: Any = Given([0.9], [0.49], [0.1, 0.4], [0.7], [0.99], [0.6, 0.9])
    asked = Oracle.of(network, torch.tensor([0]), draws=draws)
    config = SquareConfig(num_queries=2, share=0.3)
    result = square(asked, images, torch.tensor([0]), Ball(0.1), config)
    assert [side(query, config, 4, 4) for query in range(2)] == [2, 1]
    expected = images + 0.1
    expected[0, :, 1:3, 0:2] = 0.4
    expected[0, 0, 1, 0] = 0.0
    torch.testing.assert_close(result, expected)
    assert draws.numbers == []
    assert asked.cost.forward.tolist() == [3]
    assert asked.cost.backward.tolist() == [0]


def test_the_loss_never_falls_and_the_fooled_are_left_alone(
    curved: nn.Module, batch: Batch
) -> None:
    images, _ = batch(count=20)
    with torch.no_grad():
        labels = curved(images).argmax(1)
    before: Tensor | None = None
    spent = []
    for num_queries in (1, 2, 4, 8, 16):
        # The schedule runs over the number of queries: one side at all times makes them prefixes.
        config = SquareConfig(num_queries=num_queries, share=1e-3)
        asked = Oracle.of(curved, labels, draws=SampleDraws(torch.arange(20), 0))
        result = build_attack(config, 0.1)(asked, images, labels)
        with torch.no_grad():
            value = margin(curved(result), labels)
        if before is not None:
            assert bool((value >= before - 1e-12).all())
            # Fooled before: no further query, and the same image.
            assert torch.equal(asked.cost.forward[before > 0], spent[-1][before > 0])
        assert bool((asked.cost.forward[value < 0] == num_queries + 1).all())
        before = value
        spent.append(asked.cost.forward.clone())
    assert before is not None
    assert 0 < int((before > 0).sum()) < 20


def test_the_start_is_vertical_stripes() -> None:
    images = torch.full((5, 3, 6, 6), 0.5, dtype=torch.float64)
    steadfast = nn.Sequential(nn.Flatten(), nn.Linear(108, 2)).double()
    nn.init.zeros_(steadfast[1].weight)
    with torch.no_grad():
        # Nothing moves the loss, so nothing but the start is kept.
        steadfast[1].bias.copy_(torch.tensor([1.0, 0.0]))
    labels = torch.zeros(5, dtype=torch.int64)
    moved = build_attack(SquareConfig(num_queries=5), 0.1)(steadfast, images, labels) - images
    assert {round(value, 9) for value in moved.flatten().tolist()} == {-0.1, 0.1}
    assert bool((moved == moved[:, :, :1]).all())
    assert len(moved[:, :, 0].flatten(1).unique(dim=0)) == 5


def test_squares_are_never_at_the_last_place() -> None:
    """As the authors' code draws them: of 4 - 1 places for a side of 1 the last is left out."""
    draws: Any = Given([1 - 2.0**-24], [1 - 2.0**-24], [0.0])
    images = torch.full((1, 1, 4, 4), 0.5, dtype=torch.float64)

    def network(seen: Tensor) -> Tensor:
        score = 0.1 - seen.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(score), score], dim=1)

    asked = Oracle.of(network, torch.tensor([0]), draws=draws)
    result = square(
        asked, images, torch.tensor([0]), Ball(0.1), SquareConfig(num_queries=1, share=0.05)
    )
    changed = ((result - 0.6).abs() > 1e-9).nonzero().tolist()
    assert changed == [[0, 0, 2, 2]]
    assert math.sqrt(0.05 * 16) < 1.5
