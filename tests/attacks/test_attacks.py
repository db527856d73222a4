"""Each attack by hand, on a linear network whose gradient is known."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.attacks import (
    Ball,
    FGSMConfig,
    NoiseConfig,
    Oracle,
    PGDConfig,
    RFGSMConfig,
    build_attack,
)
from pipeline.attacks.pgd import pgd
from pipeline.logits import margin

Batch = Callable[[], tuple[Tensor, Tensor]]
WEIGHTS = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
IMAGE = torch.tensor([0.2, 0.5, 0.99], dtype=torch.float64).view(1, 1, 1, 3)


def linear(images: Tensor) -> Tensor:
    """Two classes: x_1 - 2 x_2 + 3 x_3, and 0."""
    score = images.flatten(1) @ WEIGHTS
    return torch.stack([score, torch.zeros_like(score)], dim=1)


def attacked(config: object, epsilon: float, label: int = 0) -> list[float]:
    attack = build_attack(config, epsilon)  # type: ignore[arg-type]
    return attack(linear, IMAGE, torch.tensor([label])).flatten().tolist()


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_fgsm_by_hand(loss: str) -> None:
    config = FGSMConfig(loss=loss)  # type: ignore[arg-type]
    assert attacked(config, 0.1) == pytest.approx([0.1, 0.6, 0.89])
    assert attacked(config, 0.1, label=1) == pytest.approx([0.3, 0.4, 1.0])


@pytest.mark.parametrize(
    ("num_steps", "expected"),
    [(1, [0.14, 0.56, 0.93]), (2, [0.1, 0.6, 0.89]), (3, [0.1, 0.6, 0.89])],
)
def test_pgd_by_hand(num_steps: int, expected: list[float]) -> None:
    config = PGDConfig(num_steps=num_steps, step_size=0.06, random_start=False)
    assert attacked(config, 0.1) == pytest.approx(expected)


def test_pgd_step_relative_to_the_radius() -> None:
    config = PGDConfig(num_steps=1, relative_step_size=0.25, random_start=False)
    assert attacked(config, 0.2) == pytest.approx([0.15, 0.55, 0.94])


def test_pgd_starts_anywhere_in_the_ball() -> None:
    images = torch.full((1, 1, 40, 40), 0.5, dtype=torch.float64)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(1600, 2)).double()
    nn.init.zeros_(flat[1].weight)
    # A network without a gradient leaves PGD at its start.
    torch.manual_seed(0)
    started = build_attack(PGDConfig(num_steps=2), 0.1)(flat, images, torch.tensor([0])) - images
    assert float(started.abs().max()) <= 0.1
    assert float(started.mean()) == pytest.approx(0, abs=0.01)
    assert float(started.std()) == pytest.approx(0.2 / 12**0.5, rel=0.05)


@pytest.mark.parametrize(
    ("config", "epsilon", "shifts"),
    [
        (RFGSMConfig(), 0.2, {0.0, 16 / 255}),
        (RFGSMConfig(), 8 / 255, {0.0, 8 / 255}),
        (RFGSMConfig(alpha=0.05), 0.08, {0.0, 0.08}),
        (RFGSMConfig(convention="rat"), 0.1, {0.0, 0.1}),
        (RFGSMConfig(convention="rat", alpha=0.025), 0.1, {0.05, 0.1}),
    ],
)
def test_rfgsm_by_hand(config: RFGSMConfig, epsilon: float, shifts: set[float]) -> None:
    """Along the gradient's sign, a pixel moves both steps or their difference."""
    images = torch.full((400, 1, 1, 3), 0.5, dtype=torch.float64)
    torch.manual_seed(0)
    labels = torch.zeros(400, dtype=torch.int64)
    moved = build_attack(config, epsilon)(linear, images, labels) - images
    along = (moved * -WEIGHTS.sign()).flatten()
    found = {round(value, 9) for value in along.tolist()}
    assert {abs(value) for value in found} == {round(value, 9) for value in shifts}
    assert min(found) >= 0
    share = float((along > (min(shifts) + max(shifts)) / 2).double().mean())
    assert share == pytest.approx(0.5, abs=0.06)


def test_noise_at_the_corners_moves_every_pixel_by_the_radius() -> None:
    images = torch.full((50, 1, 1, 3), 0.5, dtype=torch.float64)
    torch.manual_seed(0)
    attack = build_attack(NoiseConfig(num_draws=1, distribution="corners"), 0.1)
    moved = attack(linear, images, torch.zeros(50, dtype=torch.int64)) - images
    assert {round(value, 12) for value in moved.flatten().tolist()} == {-0.1, 0.1}
    # Of eight corners one is the worst: out of 200 draws it is there.
    many = build_attack(NoiseConfig(num_draws=200, distribution="corners"), 0.1)
    worst = many(linear, images[:1], torch.tensor([0])) - images[:1]
    torch.testing.assert_close(worst.flatten(), -0.1 * WEIGHTS.sign())


def test_noise_is_the_worst_of_its_draws(smooth: nn.Module, batch: Batch) -> None:
    images, labels = batch()
    torch.manual_seed(4)
    result = build_attack(NoiseConfig(num_draws=5), 0.2)(smooth, images, labels)
    torch.manual_seed(4)
    draws = torch.stack(
        [(images + torch.empty_like(images).uniform_(-0.2, 0.2)).clamp(0, 1) for _ in range(5)]
    )
    with torch.no_grad():
        losses = torch.stack([margin(smooth(draw), labels) for draw in draws])
    worst = losses.argmax(0)
    assert len(worst.unique()) > 1
    for sample, draw in enumerate(worst.tolist()):
        torch.testing.assert_close(result[sample], draws[draw, sample], rtol=0, atol=1e-12)


def peaked(images: Tensor) -> Tensor:
    """Class 1 wins within 0.035 of 0.6, and class 0 everywhere else."""
    score = 0.035 - (images.flatten(1)[:, 0] - 0.6).abs()
    return torch.stack([torch.zeros_like(score), score], dim=1)


def test_any_iterate_stops_where_last_steps_over() -> None:
    image, label = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64), torch.tensor([0])
    settings = {"num_steps": 2, "step_size": 0.07, "random_start": False}
    last = build_attack(PGDConfig(**settings, iterate="last"), 0.2)(peaked, image, label)
    first = build_attack(PGDConfig(**settings, iterate="any"), 0.2)(peaked, image, label)
    assert last.item() == pytest.approx(0.64)
    assert first.item() == pytest.approx(0.57)
    assert (peaked(last).argmax(1).item(), peaked(first).argmax(1).item()) == (0, 1)


def test_any_iterate_is_the_first_that_fools(smooth: nn.Module, batch: Batch) -> None:
    images, _ = batch()
    with torch.no_grad():
        labels = smooth(images).argmax(1)
    num_steps, settings = 8, {"step_size": 0.01, "random_start": False}
    iterates = [images]
    for count in range(1, num_steps + 1):
        config = PGDConfig(num_steps=count, **settings)  # type: ignore[arg-type]
        iterates.append(pgd(Oracle.of(smooth, labels), images, labels, Ball(0.05), config))
    with torch.no_grad():
        fooled = torch.stack([smooth(x).argmax(1) != labels for x in iterates])
    result = pgd(
        Oracle.of(smooth, labels),
        images,
        labels,
        Ball(0.05),
        PGDConfig(num_steps=num_steps, iterate="any", **settings),  # type: ignore[arg-type]
    )
    # Some samples must fall on the way for this test to mean anything.
    assert bool(fooled.any(0).any())
    assert bool((fooled.int().argmax(0) < num_steps).any())
    for sample in range(len(images)):
        ever = bool(fooled[:, sample].any())
        index = int(fooled[:, sample].int().argmax()) if ever else num_steps
        torch.testing.assert_close(result[sample], iterates[index][sample], rtol=0, atol=1e-12)


def test_what_is_wrong_at_the_start_is_not_attacked_by_any() -> None:
    config = PGDConfig(num_steps=3, step_size=0.01, random_start=False, iterate="any")
    wrong = torch.tensor([1])
    assert torch.equal(build_attack(config, 0.1)(linear, IMAGE, wrong), IMAGE)


def test_pgd_is_at_least_as_strong_as_fgsm() -> None:
    """On a network trained to tell two noisy patterns apart."""
    torch.manual_seed(0)
    labels = torch.randint(2, (300,))
    patterns = torch.rand(2, 1, 6, 6)
    images = (patterns[labels] * 0.3 + 0.35 + 0.15 * torch.randn(300, 1, 6, 6)).clamp(0, 1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.Softplus(), nn.Linear(24, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    configs = {
        "fgsm": FGSMConfig(),
        "pgd": PGDConfig(num_steps=20, random_start=False),
        "noise": NoiseConfig(),
    }
    standing, loss = {}, {}
    for name, config in configs.items():
        with torch.no_grad():
            logits = network(build_attack(config, 0.05)(network, images, labels))
        standing[name] = int((logits.argmax(1) == labels).sum())
        loss[name] = float(functional.cross_entropy(logits, labels))
    clean = int((network(images).argmax(1) == labels).sum())
    assert standing["pgd"] <= standing["fgsm"] < standing["noise"] <= clean
    assert loss["pgd"] >= loss["fgsm"] > loss["noise"]
