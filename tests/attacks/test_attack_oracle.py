"""What an attack asks of a network: gradients of sums, averages over draws, and the bill."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import GradientEstimator, oracle
from pipeline.attacks import GlobalDraws, Oracle, SampleDraws
from pipeline.attacks.losses import cross_entropy, margin
from pipeline.attacks.oracle import Remembering

Batch = Callable[..., tuple[Tensor, Tensor]]
WEIGHTS = torch.tensor([[1.0, -1.0], [2.0, 0.5], [-0.5, 3.0]], dtype=torch.float64)


def linear(images: Tensor) -> Tensor:
    return images @ WEIGHTS


def test_gradient_is_of_the_sum_not_the_mean() -> None:
    images = torch.rand(5, 3, dtype=torch.float64)
    labels = torch.tensor([0, 1, 1, 0, 1])
    result, logits = Oracle.of(linear, labels).gradient(images, labels, cross_entropy)
    one_hot = nn.functional.one_hot(labels, 2).double()
    torch.testing.assert_close(result, ((images @ WEIGHTS).softmax(1) - one_hot) @ WEIGHTS.T)
    torch.testing.assert_close(logits, images @ WEIGHTS)
    assert not images.requires_grad
    assert not logits.requires_grad


class Gain:
    """A random network: each call multiplies the logits by the next of its numbers."""

    def __init__(self, *gains: float) -> None:
        self.gains = list(gains)

    def __call__(self, images: Tensor) -> Tensor:
        return self.gains.pop(0) * images @ WEIGHTS


def test_eot_averages_gradients_and_logits_over_its_draws() -> None:
    images, labels = torch.rand(4, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    gains = (1.0, 4.0, -2.0)
    asked = Oracle.of(Gain(*gains, *gains, 9.0), labels, eot_draws=3)
    # Of the losses' gradients the mean, not the gradient of the mean logits' loss.
    each = [
        Oracle.of(Gain(gain), labels).gradient(images, labels, cross_entropy)[0] for gain in gains
    ]
    direction, logits = asked.gradient(images, labels, cross_entropy)
    torch.testing.assert_close(direction, sum(each) / 3)
    torch.testing.assert_close(logits, images @ WEIGHTS)
    torch.testing.assert_close(asked.logits(images), images @ WEIGHTS)
    assert asked.classifier.gains == [9.0]  # type: ignore[attr-defined]
    assert asked.cost.forward.tolist() == [6] * 4
    assert asked.cost.backward.tolist() == [3] * 4


def test_the_bill_is_each_samples_own() -> None:
    labels = torch.tensor([0, 1, 1, 0, 1])
    images = torch.rand(5, 3, dtype=torch.float64)
    whole = Oracle.of(linear, labels, eot_draws=2)
    whole.logits(images)
    some = whole.narrowed(torch.tensor([True, False, True, True, False]))
    some.gradient(images[:3], labels[:3], margin)
    few = some.narrowed(torch.tensor([2, 0]))
    few.gradient(images[:2], labels[:2], margin)
    few.logits(images[:2])
    assert few.positions.tolist() == [3, 0]
    assert whole.cost.forward.tolist() == [8, 2, 4, 8, 2]
    assert whole.cost.backward.tolist() == [4, 0, 2, 4, 0]
    assert few.cost is whole.cost
    assert few.eot_draws == 2


def test_costs_of_some_add_up_where_they_stand() -> None:
    whole, some = (Oracle.of(linear, torch.zeros(n, dtype=torch.int64)).cost for n in (4, 2))
    some.forward[:], some.backward[:] = torch.tensor([3, 5]), torch.tensor([1, 2])
    for _ in range(2):
        whole.add(torch.tensor([3, 1]), some)
    assert whole.forward.tolist() == [0, 10, 0, 6]
    assert whole.backward.tolist() == [0, 4, 0, 2]


class Diary:
    """Remembers how often it was made fresh, narrowed and asked, sample by sample."""

    passes = 2

    def __init__(self, seen: Tensor | None = None) -> None:
        self.seen = seen
        self.asked: list[tuple[int, bool]] = []

    def __call__(self, images: Tensor, *, learning: bool = True) -> Tensor:
        self.asked.append((len(images), learning))
        if learning:
            before = torch.zeros(len(images)) if self.seen is None else self.seen
            self.seen = before + images.detach()[:, 0]
        return images @ WEIGHTS

    def fresh(self) -> "Diary":
        return Diary()

    def narrowed(self, keep: Tensor) -> "Diary":
        return Diary(None if self.seen is None else self.seen[keep])


def test_a_classifier_with_a_memory_starts_fresh_and_learns_once_an_answer() -> None:
    labels, old = torch.tensor([0, 1, 1]), Diary(torch.tensor([7.0, 7.0, 7.0]))
    asked: Any = Oracle.of(old, labels, eot_draws=3)
    assert asked.classifier is not old
    assert asked.classifier.seen is None
    images = torch.tensor([[1.0, 0, 0], [2.0, 0, 0], [4.0, 0, 0]], dtype=torch.float64)
    asked.gradient(images, labels, margin)
    asked.logits(images)
    assert asked.classifier.asked == [(3, True), (3, False), (3, False)] * 2
    assert asked.classifier.seen.tolist() == [2.0, 4.0, 8.0]
    # Three draws of two passes, twice.
    assert asked.cost.forward.tolist() == [12, 12, 12]
    assert asked.cost.backward.tolist() == [3, 3, 3]

    few: Any = asked.narrowed(torch.tensor([False, True, True]))
    few.logits(images[1:])
    assert few.classifier.seen.tolist() == [6.0, 12.0]
    assert asked.classifier.seen.tolist() == [2.0, 4.0, 8.0]
    assert old.seen is not None
    assert old.asked == []


def test_only_a_classifier_with_a_memory_is_told_about_learning() -> None:
    def plain(images: Tensor) -> Tensor:
        return images @ WEIGHTS

    assert isinstance(Diary(), Remembering)
    assert not isinstance(plain, Remembering)
    labels = torch.tensor([0, 1])
    asked = Oracle.of(plain, labels, eot_draws=2)
    assert asked.classifier is plain
    assert asked.narrowed(torch.tensor([1])).classifier is plain
    assert asked.logits(torch.rand(2, 3, dtype=torch.float64)).shape == (2, 2)


def test_an_oracle_of_an_oracle_is_the_oracle() -> None:
    asked = Oracle.of(linear, torch.tensor([0, 1]), draws=SampleDraws(torch.tensor([1, 2]), 0))
    assert Oracle.of(asked, torch.tensor([0, 1])) is asked
    assert isinstance(Oracle.of(linear, torch.tensor([0])).draws, GlobalDraws)


def test_draws_are_narrowed_along() -> None:
    labels, like = torch.zeros(3, dtype=torch.int64), torch.empty(3, 4)
    whole = Oracle.of(linear, labels, draws=SampleDraws(torch.tensor([1, 2, 3]), 0))
    some = whole.narrowed(torch.tensor([2, 0]))
    drawn = whole.draws.uniform(like, 0.0, 1.0)
    assert torch.equal(some.draws.uniform(like[:2], 0.0, 1.0), drawn[[2, 0]])


@pytest.mark.parametrize("method", ["assg", "pdsg"])
def test_a_networks_oracle_forgets_between_batches(
    spiking: nn.Module, batch: Batch, method: Any
) -> None:
    """The same object, asked for two batches in turn, answers the second as if it were first."""
    images, labels = batch(torch.float32)
    classifier = oracle(spiking, GradientEstimator(method=method))
    first, _ = Oracle.of(classifier, labels).gradient(images, labels, margin)
    asked = Oracle.of(classifier, labels)
    again, _ = asked.gradient(images, labels, margin)
    assert torch.equal(first, again)
    # Within one attack only the estimator that adapts goes on from where it was.
    later, _ = asked.gradient(images, labels, margin)
    assert torch.equal(later, again) is (method == "pdsg")


def test_further_draws_of_a_networks_oracle_learn_nothing(spiking: nn.Module, batch: Batch) -> None:
    images, labels = batch(torch.float32)
    classifier = oracle(spiking, GradientEstimator(method="assg"))
    once, many = (Oracle.of(classifier, labels, eot_draws=draws) for draws in (1, 4))
    for _ in range(3):
        # The network itself is not random: the draws must all be the same.
        torch.testing.assert_close(
            many.gradient(images, labels, margin)[0], once.gradient(images, labels, margin)[0]
        )
