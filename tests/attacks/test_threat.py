"""Threat models of event frames: what each allows, and that every attack works on frames."""

from typing import Any

import pytest
import torch
from test_contract import ROWS as BALL_ROWS
from test_contract import check_that_the_batch_does_not_matter, with_own_draws
from torch import Tensor, nn

from models import GradientEstimator, InputSpec, ModelConfig, oracle
from pipeline.attacks import (
    LOSSES,
    Ball,
    Domain,
    FABConfig,
    FGSMConfig,
    Oracle,
    SampleDraws,
    Threat,
    build_attack,
)
from pipeline.attacks.fab import installed
from tests.victims import lively

EVENTS = Domain(frames=True, scale=4.0)
THREATS = ("clamped", "counts", "scaled")


@pytest.fixture
def network() -> nn.Module:
    """A spiking network of event counts (B, 3, 2, 8, 8), in evaluation mode."""
    spec = InputSpec(channels=2, height=8, width=8, num_classes=4, frames=True, scale=4.0)
    config = ModelConfig(architecture="small", num_timesteps=3, channels=(16, 16, 16))
    return lively(config, spec)


@pytest.fixture
def frames() -> tuple[Tensor, Tensor]:
    """Counts from 0 to 4 and any labels."""
    generator = torch.Generator().manual_seed(5)
    counts = torch.poisson(torch.full((4, 3, 2, 8, 8), 0.8), generator=generator).clamp(max=4)
    assert float(counts.max()) == 4
    return counts, torch.tensor([0, 1, 2, 3])


def test_the_names_mean_what_they_say() -> None:
    assert Threat.named(None, Domain()) == Threat("pixels")
    assert Threat.named(None, EVENTS) == Threat("counts")
    assert Threat.named("pixels", Domain()).budget(0.1) == Ball(0.1)
    assert Threat.named("clamped", EVENTS).budget(0.1) == Ball(0.1, 0.0, 1.0)
    assert Threat.named("counts", EVENTS).budget(0.1) == Ball(0.1, 0.0, float("inf"))
    scaled = Threat.named("scaled", EVENTS).budget(0.1)
    assert scaled == Ball(0.1, 0.0, 4.0, unit=4.0)
    assert scaled.radius == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("name", "domain"),
    [("pixels", EVENTS), *((name, Domain()) for name in (*THREATS, "binary"))],
)
def test_a_threat_model_of_other_samples_is_told(name: Any, domain: Domain) -> None:
    with pytest.raises(ValueError, match=f"{name} is not for"):
        Threat.named(name, domain)


def test_the_clamp_destroys_counts_whatever_the_radius() -> None:
    counts = torch.tensor([[0.0, 0.5, 1.0, 3.0]])
    clamped = Threat("clamped").budget(0.25)
    moved = torch.tensor([[0.9, 0.9, -2.0, 0.0]])
    assert clamped.hold(moved, counts).tolist() == [[0.25, 0.75, 0.75, 1.0]]
    assert clamped.nearest(counts).tolist() == [[0.0, 0.5, 1.0, 1.0]]
    # What the clamp takes is no distance that the attack went.
    assert clamped.distance(clamped.nearest(counts), counts).tolist() == [0.0]
    honest = Threat("counts").budget(0.25)
    assert honest.hold(moved, counts).tolist() == [[0.25, 0.75, 0.75, 2.75]]
    assert torch.equal(honest.nearest(counts), counts)


@pytest.mark.parametrize("threat", THREATS)
@pytest.mark.parametrize("row", BALL_ROWS)
def test_every_attack_works_on_frames(
    network: nn.Module, frames: tuple[Tensor, Tensor], row: str, threat: Any
) -> None:
    counts, labels = frames
    ball = Threat.named(threat, EVENTS).budget(0.05)
    assert isinstance(ball, Ball)
    asked = Oracle.of(network, labels, draws=SampleDraws(torch.arange(4), 1))
    found = build_attack(BALL_ROWS[row], ball)(asked, counts, labels)
    assert found.shape == counts.shape
    assert float(found.min()) >= 0
    assert float(found.max()) <= ball.high
    reachable = ball.clip(counts)
    assert float((found - reachable).abs().max()) <= ball.radius + 1e-6
    # The ball is used (but for RFGSM, which may step back to where it came from).
    assert float((found - reachable).abs().max()) > ball.radius / 4


@pytest.mark.parametrize("row", BALL_ROWS)
def test_frames_of_a_batch_do_not_mix(row: str) -> None:
    """Samples have one axis more than images, which no mask over the batch may meet."""
    generator = torch.Generator().manual_seed(6)
    layers = [nn.Flatten(), nn.Linear(2 * 2 * 8 * 8, 16), nn.Tanh(), nn.Linear(16, 4)]
    smooth = nn.Sequential(*layers).double().eval()
    for parameter in smooth.parameters():
        parameter.data.normal_(0.0, 0.2, generator=generator)
    counts = torch.rand(7, 2, 2, 8, 8, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        labels = smooth(counts).argmax(1)  # all stand, some fall on the way
    on = with_own_draws(row, smooth, counts, labels)
    check_that_the_batch_does_not_matter(on, alone=[0, 4])


@pytest.mark.skipif(not installed(), reason="needs the extra autoattack")
@pytest.mark.parametrize("threat", ["counts", "scaled"])
def test_fab_works_on_frames(frames: tuple[Tensor, Tensor], threat: Any) -> None:
    counts, _ = frames
    ball = Threat.named(threat, EVENTS).budget(0.2)
    assert isinstance(ball, Ball)
    weights = torch.randn(counts[0].numel(), 4, generator=torch.Generator().manual_seed(2)) / 20

    def linear(frames: Tensor) -> Tensor:
        return frames.flatten(1) @ weights

    labels = linear(ball.clip(counts)).argmax(1)
    found = build_attack(FABConfig(num_steps=10, num_targets=3), ball)(linear, counts, labels)
    assert float((found - ball.clip(counts)).abs().max()) <= ball.radius + 1e-5
    assert bool((linear(found).argmax(1) != labels).all())


@pytest.mark.parametrize("method", ["own", "stbp", "rga", "bptr", "hart", "pdsg", "assg", "relu"])
def test_every_oracle_works_on_frames(
    network: nn.Module, frames: tuple[Tensor, Tensor], method: Any
) -> None:
    counts, labels = frames
    asked = Oracle.of(oracle(network, GradientEstimator(method=method)), labels)
    gradient, _ = asked.gradient(counts, labels, LOSSES["cross_entropy"])
    assert gradient.shape == counts.shape
    assert bool((gradient != 0).any())


def test_paper_s_attack_is_torchattacks_on_counts(
    network: nn.Module, frames: tuple[Tensor, Tensor]
) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    counts, labels = frames
    ours = build_attack(FGSMConfig(), Threat("clamped").budget(0.031))(network, counts, labels)
    theirs = torchattacks.FGSM(network, eps=0.031)
    theirs._check_inputs = lambda images: images  # it refuses counts above 1; the paper's did not
    torch.testing.assert_close(ours, theirs(counts, labels), rtol=0, atol=1e-6)
