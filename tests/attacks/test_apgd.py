"""Auto-PGD by hand: its checkpoints, its start, its first window, what it returns."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.attacks import APGDConfig, Ball, Oracle, SampleDraws, build_attack
from pipeline.attacks.apgd import apgd, ascend, ball_start, checkpoints
from pipeline.attacks.losses import cross_entropy, dlr, margin, targeted_dlr

Batch = Callable[..., tuple[Tensor, Tensor]]


@pytest.mark.parametrize(
    ("num_steps", "expected"),
    [
        (100, [22, 41, 57, 70, 80, 87, 93, 99]),
        (50, [11, 21, 30, 38, 45]),
        (20, [4, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]),
        (10, [2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (3, [1, 2, 3]),
        (1, [1]),
    ],
)
def test_checkpoints_by_hand(num_steps: int, expected: list[int]) -> None:
    assert [done for done, _ in checkpoints(num_steps)] == expected


def by_counters(num_steps: int) -> list[tuple[int, int]]:
    """The authors' rule as their loop has it: a counter that runs up to a shrinking window."""
    window, shrink, smallest = (max(int(p * num_steps), 1) for p in (0.22, 0.03, 0.06))
    found, counter = [], 0
    for step in range(num_steps):
        counter += 1
        if counter == window:
            found.append((step + 1, window))
            counter, window = 0, max(window - shrink, smallest)
    return found


@pytest.mark.parametrize("num_steps", [*range(1, 41), 100, 333, 1000])
def test_checkpoints_are_where_the_authors_loop_looks_back(num_steps: int) -> None:
    assert list(checkpoints(num_steps)) == by_counters(num_steps)


class Fixed:
    """Draws that are given."""

    def __init__(self, *values: float) -> None:
        self.values = torch.tensor(values, dtype=torch.float64)

    def uniform(self, like: Tensor, low: float, high: float) -> Tensor:
        assert (low, high) == (-1.0, 1.0)
        return self.values.expand(like.shape)


def test_the_start_touches_the_ball() -> None:
    images = torch.tensor([[[[0.5, 0.5, 0.02, 0.5]]]], dtype=torch.float64)
    asked: Any = Oracle.of(nn.Flatten(), torch.tensor([0]), draws=Fixed(0.2, -0.4, -0.4, 0.0))  # type: ignore[arg-type]
    start = ball_start(asked, images, Ball(0.1))
    assert start.flatten().tolist() == pytest.approx([0.55, 0.4, 0.0, 0.5])


def peak(height: float) -> Callable[[Tensor], Tensor]:
    """Margin height - |x_1 - 0.6| of class 1 over class 0; the second pixel does nothing."""

    def network(images: Tensor) -> Tensor:
        score = height - (images.flatten(1)[:, 0] - 0.6).abs()
        return torch.stack([torch.zeros_like(score), score], dim=1)

    return network


def recorded(network: Any, calls: list[Tensor]) -> Any:
    def ask(images: Tensor) -> Tensor:
        calls.append(images.detach().clone())
        return network(images)

    return ask


def run(height: float, num_steps: int) -> tuple[list[float], float, bool]:
    """First pixels that a run from 0.45 in the ball of 0.2 about 0.5 asks for, and its end."""
    images = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64)
    label, calls = torch.tensor([0]), list[Tensor]()
    asked: Any = Oracle.of(recorded(peak(height), calls), label, draws=Fixed(-0.25, 1.0))  # type: ignore[arg-type]
    result, fooled = ascend(asked, images, label, Ball(0.2), margin, num_steps)
    return [call[0, 0, 0, 0].item() for call in calls], result[0, 0, 0, 0].item(), bool(fooled)


def test_the_first_window_compares_with_zero() -> None:
    """A loss that rises but is negative halves the step, since the last row is still zero.

    From 0.45 (-0.25) one step of 0.4 ends at the ball, 0.7 (-0.2): better, and yet the step is
    halved: 0.7 - 0.75 * 0.2 + 0.25 * (0.7 - 0.45) = 0.6125. It would be 0.4625 otherwise.
    """
    asked, end, fooled = run(-0.1, 2)
    assert asked == pytest.approx([0.45, 0.7, 0.6125])
    assert (end, fooled) == (pytest.approx(0.6125), False)


def test_a_rising_positive_loss_keeps_its_step() -> None:
    """The same, 0.35 higher: 0.7 has 0.15, above zero, and a step of 0.4 ends at 0.4625."""
    asked, end, fooled = run(0.25, 2)
    assert asked == pytest.approx([0.45, 0.7, 0.4625])
    assert (end, fooled) == (pytest.approx(0.4625), True)


def test_six_steps_by_hand() -> None:
    """With a check after every step.

    - 0.6125 (-0.1125) rose: the step stays 0.2. 0.6125 - 0.15 + 0.25 * (0.6125 - 0.7) = 0.440625.
    - That fell (-0.259): 0.1 now, and back to 0.6125, with no move behind it. 0.6125 - 0.075.
    - 0.5375 (-0.1625) rose, if not over the best; just halved, it stays. Up, 0.5375 + 0.075
      + 0.25 * (0.5375 - 0.6125) = 0.59375, the best. Then 0.59375 + 0.075 + 0.25 * 0.05625.
    """
    asked, end, fooled = run(-0.1, 6)
    expected = [0.45, 0.7, 0.6125, 0.440625, 0.5375, 0.59375, 0.6828125]
    assert asked == pytest.approx(expected)
    assert (end, fooled) == (pytest.approx(0.59375), False)


@pytest.mark.parametrize("loss", [cross_entropy, dlr, margin])
def test_returns_the_latest_that_fools_else_the_largest_loss(
    curved: nn.Module, batch: Batch, loss: Any
) -> None:
    images, _ = batch(count=20)
    with torch.no_grad():
        labels = curved(images).argmax(1)
    calls: list[Tensor] = []
    draws = SampleDraws(torch.arange(20), 0)
    asked = Oracle.of(recorded(curved, calls), labels, draws=draws)
    result, fooled = ascend(asked, images, labels, Ball(0.02), loss, 12)
    assert len(calls) == 13
    with torch.no_grad():
        logits = torch.stack([curved(call) for call in calls])
    wrong = logits.argmax(2) != labels
    value = torch.stack([loss(one, labels) for one in logits])
    assert 0 < int(fooled.sum()) < 20
    assert torch.equal(fooled, wrong.any(0))
    for sample in range(20):
        latest = wrong[:, sample].nonzero().flatten().tolist()
        expected = latest[-1] if latest else int(value[:, sample].argmax())
        assert torch.equal(result[sample], calls[expected][sample])


def test_targets_are_the_likeliest_wrong_classes_in_turn(curved: nn.Module, batch: Batch) -> None:
    images, _ = batch(count=12)
    with torch.no_grad():
        logits = curved(images)
    labels, epsilon = logits.argmax(1), 0.015
    asked = Oracle.of(curved, labels, draws=SampleDraws(torch.arange(12), 0))
    config = APGDConfig(num_steps=4, loss="targeted_dlr", num_targets=3)
    result = apgd(asked, images, labels, Ball(epsilon), config)

    again = Oracle.of(curved, labels, draws=SampleDraws(torch.arange(12), 0))
    expected, standing = images.clone(), torch.ones(12, dtype=torch.bool)
    for rank in range(1, 4):
        target = logits.sort(dim=1, descending=True).indices[:, rank]
        run, fooled = ascend(again, images, labels, Ball(epsilon), targeted_dlr(target), 4)
        expected[standing] = run[standing]
        standing &= ~fooled
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)
    # Five gradients a target; whoever falls takes no further target.
    spent = asked.cost.backward
    assert {5, 15} <= set(spent.tolist()) <= {5, 10, 15}
    assert bool((spent[standing] == 15).all())
    assert asked.cost.forward.tolist() == (spent + 1).tolist()


def test_more_targets_than_wrong_classes_take_none(smooth: nn.Module, batch: Batch) -> None:
    images, labels = batch()
    results = []
    for num_targets in (3, 9):
        torch.manual_seed(0)
        config = APGDConfig(num_steps=2, loss="targeted_dlr", num_targets=num_targets)
        results.append(build_attack(config, 0.02)(smooth, images, labels))
    assert torch.equal(*results)
    assert APGDConfig(num_steps=2, loss="targeted_dlr", num_restarts=5).gradient_steps == 135
    assert APGDConfig(num_steps=2, num_restarts=5).gradient_steps == 15
