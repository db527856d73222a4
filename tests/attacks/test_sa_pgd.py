"""SA-PGD by hand, and against its formulas written out once more in plain numbers."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.attacks import Ball, Oracle, SampleDraws, SAPGDConfig, build_attack
from pipeline.attacks.sa_pgd import sa_pgd

Batch = Callable[..., tuple[Tensor, Tensor]]


class Scripted:
    """An oracle that starts at the image and whose gradients are given, one a step."""

    def __init__(self, *gradients: list[float]) -> None:
        self.gradients = [torch.tensor([[g]], dtype=torch.float64)[:, None] for g in gradients]
        self.draws = self

    def uniform(self, like: Tensor, low: float, high: float) -> Tensor:
        return torch.zeros_like(like)

    def gradient(self, images: Tensor, labels: Tensor, loss: Any) -> tuple[Tensor, Tensor]:
        return self.gradients.pop(0), self.logits(images)

    def logits(self, images: Tensor) -> Tensor:
        return torch.tensor([[1.0, 0.0]])


def stepped(*gradients: list[float]) -> list[float]:
    images = torch.full((1, 1, 1, 4), 0.5, dtype=torch.float64)
    config = SAPGDConfig(num_steps=len(gradients))
    oracle: Any = Scripted(*gradients)
    return sa_pgd(oracle, images, torch.tensor([0]), Ball(0.1), config).flatten().tolist()


def test_one_step_by_hand() -> None:
    # |g| has mean 1 and g^2 mean 1.5: m / sqrt(v) is +-sqrt(1.5), clipped to the step of 0.1.
    assert stepped([1.0, -1.0, 2.0, 0.0]) == pytest.approx([0.6, 0.4, 0.6, 0.5])


def test_two_steps_by_hand() -> None:
    """The step is halved to 0.05 after the first, and the moments decay by 0.5 and 0.8.

    m = (0.5 - 1, -0.5 - 1, 1, 2) and v = 0.8 * (1, 1, 4, 0) / 1.5 + (1, 1, 0, 4) / 1.5.
    """
    # The second and third pixel are at the ball's edge and would go on.
    expected = [0.6 - 0.05 * 0.5 / math.sqrt(1.2), 0.4, 0.6, 0.55]
    assert stepped([1.0, -1.0, 2.0, 0.0], [-1.0, -1.0, 0.0, 2.0]) == pytest.approx(expected)


def test_the_size_of_a_gradient_does_not_matter() -> None:
    first, second = [1.0, -1.0, 2.0, 0.0], [-1.0, -1.0, 0.0, 2.0]
    tiny, huge = [1e-12 * g for g in first], [1e9 * g for g in second]
    assert stepped(tiny, huge) == pytest.approx(stepped(first, second))


def test_without_a_gradient_it_stands_still() -> None:
    assert stepped([0.0] * 4, [0.0] * 4) == [0.5] * 4


WEIGHTS = [[3.0, -2.0, 0.5], [-1.0, 4.0, 2.0], [2.0, 1.0, -3.0], [0.5, 0.2, 1.0]]


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def in_plain_numbers(
    start: list[float], image: list[float], label: int, epsilon: float, num_steps: int
) -> list[float]:
    """The last iterate on the linear network of `WEIGHTS` under cross-entropy."""
    current, first, second = list(start), [0.0] * 4, [0.0] * 4
    window, shrink, smallest = (max(int(p * num_steps), 1) for p in (0.22, 0.03, 0.06))
    step_size, counter = epsilon, 0
    for _ in range(num_steps):
        logits = [sum(current[i] * WEIGHTS[i][k] for i in range(4)) for k in range(3)]
        error = [p - (k == label) for k, p in enumerate(softmax(logits))]
        gradient = [sum(WEIGHTS[i][k] * error[k] for k in range(3)) for i in range(4)]
        size = sum(abs(g) for g in gradient) / 4
        power = sum(g * g for g in gradient) / 4
        first = [0.5 * m + g / size for m, g in zip(first, gradient, strict=True)]
        second = [0.8 * v + g * g / power for v, g in zip(second, gradient, strict=True)]
        for i in range(4):
            ratio = first[i] / math.sqrt(second[i])
            moved = current[i] + step_size * min(max(ratio, -1.0), 1.0)
            moved = min(max(moved, image[i] - epsilon), image[i] + epsilon)
            current[i] = min(max(moved, 0.0), 1.0)
        counter += 1
        if counter == window:
            step_size, counter, window = step_size / 2, 0, max(window - shrink, smallest)
    return current


@pytest.mark.parametrize("num_steps", [1, 2, 3, 5, 10, 40])
def test_agrees_with_its_formulas_on_a_linear_network(num_steps: int) -> None:
    images = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(2)).double()
    labels, weights = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor(WEIGHTS, dtype=torch.float64)
    starts: list[Tensor] = []

    def linear(seen: Tensor) -> Tensor:
        starts.append(seen.detach().clone())
        return seen.flatten(1) @ weights

    epsilon = 0.4
    config = SAPGDConfig(num_steps=num_steps, iterate="last")
    asked = Oracle.of(linear, labels, draws=SampleDraws(torch.arange(6), 0))
    result = build_attack(config, epsilon)(asked, images, labels)
    flat = [tensor.flatten(1).tolist() for tensor in (starts[0], images)]
    expected = [
        in_plain_numbers(start, image, label, epsilon, num_steps)
        for start, image, label in zip(*flat, labels.tolist(), strict=True)
    ]
    # The code's guards against a division by zero are left out here: 1e-12 beside sqrt(v).
    torch.testing.assert_close(
        result.flatten(1), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-10
    )
    # Not all at the ball's corners, where in the end any attack is.
    if 1 < num_steps < 20:
        inner = ((result - images).abs() < 0.99 * epsilon) & (result > 0) & (result < 1)
        assert bool(inner.any())


def test_any_returns_the_latest_iterate_that_fools(curved: nn.Module, batch: Batch) -> None:
    images, _ = batch(count=20)
    with torch.no_grad():
        labels = curved(images).argmax(1)
    calls: list[Tensor] = []

    def network(seen: Tensor) -> Tensor:
        calls.append(seen.detach().clone())
        return curved(seen)

    results = {}
    for iterate in ("last", "any"):
        calls.clear()
        asked = Oracle.of(network, labels, draws=SampleDraws(torch.arange(20), 0))
        config = SAPGDConfig(num_steps=6, iterate=iterate)  # type: ignore[arg-type]
        results[iterate] = sa_pgd(asked, images, labels, Ball(0.02), config)
        # `any` asks once more, without a gradient, to judge the last.
        assert asked.cost.backward.tolist() == [6] * 20
        assert asked.cost.forward.tolist() == [len(calls)] * 20 == [6 + (iterate == "any")] * 20
    assert torch.equal(calls[-1], results["last"])
    with torch.no_grad():
        wrong = torch.stack([curved(call).argmax(1) for call in calls]) != labels
    assert 0 < int(wrong.any(0).sum()) < 20
    for sample in range(20):
        latest = wrong[:, sample].nonzero().flatten().tolist()
        expected = latest[-1] if latest else -1
        assert torch.equal(results["any"][sample], calls[expected][sample])


def test_any_keeps_a_hit_that_the_last_step_loses() -> None:
    """Class 1 wins within 0.02 of 0.45 alone, where the start is."""

    def narrow(images: Tensor) -> Tensor:
        score = 0.02 - (images.flatten(1)[:, 0] - 0.45).abs()
        return torch.stack([torch.zeros_like(score), 3 * score], dim=1)

    image, label = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64), torch.tensor([0])

    class Start:
        def uniform(self, like: Tensor, low: float, high: float) -> Tensor:
            return torch.tensor([-0.52, 1.0], dtype=like.dtype).expand(like.shape)

    ends = {}
    for iterate in ("last", "any"):
        asked = Oracle.of(narrow, label, draws=Start())  # type: ignore[arg-type]
        config = SAPGDConfig(num_steps=1, iterate=iterate)  # type: ignore[arg-type]
        ends[iterate] = sa_pgd(asked, image, label, Ball(0.1), config)[0, 0, 0, 0].item()
    assert ends == {"any": pytest.approx(0.448), "last": pytest.approx(0.548)}
