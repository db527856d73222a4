"""Flips of binary event frames: within their budget, better than chance, and worth their passes."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import GradientEstimator, InputSpec, ModelConfig, oracle
from pipeline.attacks import (
    FlipConfig,
    FlipNoiseConfig,
    Flips,
    Oracle,
    SampleDraws,
    SDAConfig,
    build_attack,
)
from pipeline.logits import margin
from tests.victims import lively

ROWS: dict[str, Any] = {
    "flip": FlipConfig(flips=9, num_steps=4),
    "flip-margin": FlipConfig(flips=5, num_steps=10, loss="margin"),
    "sda": SDAConfig(flips=9, num_rounds=4, growth=5),
    "flip_noise": FlipNoiseConfig(flips=9, num_draws=3),
}
EVERY_ROW = pytest.mark.parametrize("row", ROWS)


@pytest.fixture
def network() -> nn.Module:
    """A spiking network of event frames (B, 3, 2, 8, 8), in evaluation mode."""
    spec = InputSpec(channels=2, height=8, width=8, num_classes=4, frames=True)
    config = ModelConfig(
        architecture="small", num_timesteps=3, channels=(16, 16, 16), input="binary"
    )
    return lively(config, spec)


@pytest.fixture
def frames() -> tuple[Tensor, Tensor]:
    """Counts with some resized, fractional values, and any labels."""
    generator = torch.Generator().manual_seed(5)
    counts = torch.poisson(torch.full((6, 3, 2, 8, 8), 0.4), generator=generator)
    counts[:, :, :, 0] *= 0.3
    return counts, torch.tensor([0, 1, 2, 3, 0, 1])


class Linear(nn.Module):
    """Two classes of binary frames; each entry's flip is worth exactly its weight."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, frames: Tensor) -> Tensor:
        score = (frames.flatten(1) * self.weights).sum(1)
        return torch.stack([score, torch.zeros_like(score)], dim=1)


@EVERY_ROW
def test_keeps_to_zeros_ones_and_the_budget(
    network: nn.Module, frames: tuple[Tensor, Tensor], row: str
) -> None:
    samples, labels = frames
    config = ROWS[row]
    budget = Flips(config.flips)
    found = build_attack(config, budget)(network, samples, labels)
    assert found.shape == samples.shape
    assert bool(((found == 0) | (found == 1)).all())
    flips = (found != (samples >= 0.5).float()).flatten(1).sum(1)
    assert int(flips.max()) <= config.flips
    assert int(flips.max()) > 0
    assert torch.equal(budget.distance(found, samples), flips.double())


def test_an_attack_that_turns_over_everything_is_held() -> None:
    samples = torch.tensor([[0.0, 1.0, 3.0, 0.4, 0.6]])
    held = Flips(2).hold(1 - (samples >= 0.5).float(), samples)
    assert held.tolist() == [[1.0, 0.0, 1.0, 0.0, 1.0]]
    assert torch.equal(Flips(2).nearest(samples), torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0]]))


@EVERY_ROW
@pytest.mark.parametrize("method", [None, "assg", "pdsg", "rga"])
def test_a_sample_s_flips_do_not_depend_on_its_batch(
    network: nn.Module, frames: tuple[Tensor, Tensor], row: str, method: Any
) -> None:
    if method == "pdsg":
        pytest.skip("its surrogate is as wide as the whole batch's potentials spread")
    network.double()
    samples, labels = frames[0].double(), frames[1]
    target = oracle(network, GradientEstimator(method=method)) if method else network
    attack, seeds = build_attack(ROWS[row], Flips(ROWS[row].flips)), torch.arange(6)

    def on(chosen: Tensor) -> Tensor:
        asked = Oracle.of(target, labels[chosen], draws=SampleDraws(seeds[chosen], 1))
        return attack(asked, samples[chosen], labels[chosen])

    together = on(torch.arange(6))
    assert torch.equal(on(torch.tensor([4, 1])), together[[4, 1]])


def test_flip_takes_the_steepest_entries_first() -> None:
    weights = torch.tensor([3.0, -2.0, 1.0, -0.5, 4.0, 0.25])
    samples = torch.tensor([[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]])
    attack = build_attack(FlipConfig(flips=2, num_steps=1, loss="margin"), Flips(2))
    # Class 0 has 6.75: entries 4 and 0 are worth most, and are both ones.
    assert attack(Linear(weights), samples, torch.tensor([0])).tolist() == [[0, 0, 0, 1, 0, 1]]


def test_flip_turns_over_nothing_that_would_not_help() -> None:
    attack = build_attack(FlipConfig(flips=2, loss="margin"), Flips(2))
    # Each one more is worth one point to class 0: nothing can be taken away.
    frames = torch.tensor([[0.0, 0.0]])
    found = attack(Linear(torch.tensor([1.0, 1.0])), frames, torch.tensor([0]))
    assert torch.equal(found, frames)


def test_sda_finds_the_fewest_flips_of_a_linear_network() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        weights = torch.randn(8, generator=generator)
        samples = (torch.rand(1, 8, generator=generator) < 0.5).float()
        network, label = Linear(weights), torch.tensor([0])
        if margin(network(samples), label) > 0:
            continue
        attack = build_attack(SDAConfig(flips=8, num_rounds=3, growth=8), Flips(8))
        found = attack(network, samples, label)
        fewest = min(
            (
                len(chosen)
                for size in range(9)
                for chosen in itertools.combinations(range(8), size)
                if margin(network(turned(samples, chosen)), label) > 0
            ),
            default=None,
        )
        broken = bool(margin(network(found), label) > 0)
        assert broken is (fewest is not None)
        if fewest is not None:
            assert int((found != samples).sum()) == fewest


def turned(samples: Tensor, chosen: tuple[int, ...]) -> Tensor:
    """The samples with these entries turned over."""
    result = samples.clone()
    result[:, list(chosen)] = 1 - result[:, list(chosen)]
    return result


@torch.no_grad()
def test_gradients_beat_chance(network: nn.Module, frames: tuple[Tensor, Tensor]) -> None:
    samples, _ = frames
    binary = Flips(0).nearest(samples)
    labels = network(binary).argmax(1)
    losses = {}
    for name, config in {
        "flip": FlipConfig(flips=12, loss="margin"),
        "sda": SDAConfig(flips=12, num_rounds=6),
        "noise": FlipNoiseConfig(flips=12, num_draws=4),
    }.items():
        found = build_attack(config, Flips(12))(network, samples, labels)
        losses[name] = margin(network(found), labels)
    assert float(losses["flip"].mean()) > float(losses["noise"].mean())
    assert float(losses["sda"].mean()) > float(losses["noise"].mean())


def test_passes_are_counted_for_each_candidate() -> None:
    weights = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0])
    samples, label = torch.ones(1, 5), torch.tensor([0])
    asked = Oracle.of(Linear(weights), label)
    build_attack(SDAConfig(flips=1, num_rounds=1, growth=5), Flips(1))(asked, samples, label)
    # One gradient, five candidates, and a look at the flip that was kept.
    assert asked.cost.forward.tolist() == [1 + 5 + 1]
    assert asked.cost.backward.tolist() == [1]


@pytest.mark.parametrize("row", ["flip", "sda"])
def test_a_gradient_that_is_no_number_does_not_pass_for_robustness(row: str) -> None:
    class Rootlike(nn.Module):
        def forward(self, frames: Tensor) -> Tensor:
            score = (frames.flatten(1)[:, 0] - 1).square().sqrt()
            return torch.stack([score + 1, score], dim=1)

    config = ROWS[row]
    with pytest.raises(ArithmeticError):
        build_attack(config, Flips(config.flips))(Rootlike(), torch.ones(1, 3), torch.tensor([0]))
