"""The loop: learning rates, means over samples, divergence."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import SpikingClassifier
from pipeline.training import build_strategy
from pipeline.training.adversarial import ATConfig
from pipeline.training.config import TrainingConfig
from pipeline.training.loop import (
    DivergedError,
    build_optimizer,
    learning_rate,
    train_epoch,
)
from pipeline.training.sparsity import SRConfig
from pipeline.training.vanilla import VanillaConfig

Make = Callable[[], SpikingClassifier]
VANILLA = VanillaConfig(method="vanilla")


def same(images: Tensor) -> Tensor:
    return images


def pixels(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return images, torch.randint(10, (count,), generator=generator)


def epoch(model: nn.Module, config: Any, count: int, size: int, rate: float) -> dict[str, float]:
    strategy = build_strategy(config)
    optimizer = build_optimizer(model, TrainingConfig(learning_rate=rate), strategy)
    images, labels = pixels(count)
    return train_epoch(model, optimizer, strategy, images, labels, size, same)


def test_learning_rates_by_hand() -> None:
    cosine = TrainingConfig(epochs=4, learning_rate=0.1)
    rates = [learning_rate(cosine, index) for index in range(4)]
    assert rates == pytest.approx([0.1, 0.08535534, 0.05, 0.01464466])
    constant = TrainingConfig(epochs=4, learning_rate=0.1, schedule="constant")
    assert [learning_rate(constant, index) for index in range(4)] == [0.1] * 4


def test_every_sample_once_in_another_order_each_time() -> None:
    images, labels = pixels(23)
    images[:, 0, 0, 0] = torch.arange(23, dtype=torch.uint8)
    seen: list[Tensor] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 10)

        def forward(self, batch: Tensor) -> Tensor:
            seen.append((batch[:, 0, 0, 0] * 255).round().int())
            logits: Tensor = self.head(batch.flatten(1))
            return logits

    model = Watched()
    strategy = build_strategy(VANILLA)
    optimizer = build_optimizer(model, TrainingConfig(), strategy)
    orders = []
    for _ in range(2):
        seen.clear()
        train_epoch(model, optimizer, strategy, images, labels, 5, same)
        assert [len(batch) for batch in seen] == [5, 5, 5, 5, 3]
        orders.append(torch.cat(seen).tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(23))
    assert orders[0] != orders[1]


def test_a_last_batch_of_one_is_left_out(spiking: Make) -> None:
    sizes: list[int] = []
    model = spiking()
    model.register_forward_pre_hook(lambda _, arguments: sizes.append(len(arguments[0])))
    metrics = epoch(model, VANILLA, count=9, size=4, rate=0.1)
    assert sizes == [4, 4]
    assert 0 <= metrics["train_accuracy"] <= 1


def test_metrics_are_means_over_samples() -> None:
    """With zero weights and no learning the loss is log 10, whatever the batches."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    strategy = build_strategy(VANILLA)
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    images, labels = pixels(10)
    metrics = train_epoch(model, still, strategy, images, labels, 4, same)
    assert metrics["train_loss"] == pytest.approx(2.302585, rel=1e-6)
    assert metrics["train_penalty"] == 0
    assert metrics["train_accuracy"] == pytest.approx(int((labels == 0).sum()) / 10)
    assert metrics["epoch_s"] > 0


def test_the_penalty_is_reported_apart(spiking: Make) -> None:
    config = SRConfig(method="sr", sparsity_weight=0.5)
    metrics = epoch(spiking(), config, count=16, size=8, rate=0.01)
    assert metrics["train_penalty"] > 0


def test_learning_lowers_the_loss(spiking: Make) -> None:
    model = spiking()
    losses = [epoch(model, VANILLA, count=32, size=8, rate=0.05)["train_loss"] for _ in range(8)]
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("size", [4, 16])
def test_a_huge_learning_rate_is_seen_to_diverge(spiking: Make, size: int) -> None:
    model = spiking()

    def train_on() -> None:
        for _ in range(10):
            epoch(model, VANILLA, count=64, size=size, rate=1e6)

    with pytest.raises(DivergedError, match=r"learning_rate"):
        train_on()


def test_a_loss_that_is_no_number_diverges() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.constant_(model[1].weight, float("nan"))
    with pytest.raises(DivergedError, match="nan"):
        epoch(model, VANILLA, count=8, size=4, rate=0.1)


@pytest.mark.parametrize(
    "layer",
    ["features.0.weight", "features.3.weight", "head.weight"],
)
def test_weights_that_are_no_numbers_diverge(spiking: Make, layer: str) -> None:
    """A NaN voltage never fires, so that the loss alone would look finite."""
    model = spiking()
    with torch.no_grad():
        dict(model.named_parameters())[layer].fill_(float("nan"))
    with pytest.raises(DivergedError):
        epoch(model, VANILLA, count=8, size=4, rate=0.1)


def test_divergence_under_an_attack_is_divergence() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.constant_(model[1].weight, float("nan"))
    with pytest.raises(DivergedError):
        epoch(model, ATConfig(method="at"), count=8, size=4, rate=0.1)
