"""Parseval retraction and the projection on the simplex."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from models.wide_resnet import ConvexCombination
from pipeline.seeding import seeded
from pipeline.training.loop import training_step
from pipeline.training.rat import RATConfig, project_on_simplex, rat, retract
from pipeline.training.strategy import Strategy

GOLDEN = Path(__file__).parents[1] / "golden" / "rat.npz"


@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_retraction_agrees_with_the_released_code(kind: str) -> None:
    numbers = np.load(GOLDEN)
    before = torch.from_numpy(numbers[f"{kind}_before"])
    after = retract(before, float(numbers["beta"]))
    expected = torch.from_numpy(numbers[f"{kind}_after"])
    torch.testing.assert_close(after, expected, rtol=1e-10, atol=1e-12)
    assert not torch.equal(after, before)


def test_projection_agrees_with_the_released_code() -> None:
    numbers = np.load(GOLDEN)
    for before, after in zip(numbers["mix_before"], numbers["mix_after"], strict=True):
        result = project_on_simplex(torch.from_numpy(before))
        torch.testing.assert_close(result, torch.from_numpy(after), rtol=0, atol=1e-12)


def test_retraction_by_hand() -> None:
    # Rows (2, 0) and (0, 1): W W^T W = ((8, 0), (0, 1)); 1.1 * 2 - 0.1 * 8 = 1.4, 1.1 - 0.1 = 1.
    weight = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    assert retract(weight, 0.1).tolist() == [[pytest.approx(1.4), 0.0], [0.0, pytest.approx(1.0)]]


def test_retraction_leads_to_orthonormal_rows() -> None:
    weight = torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(0)).double() / 3
    for _ in range(400):
        weight = retract(weight, 0.1)
    rows = weight.flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ([0.5, 0.5], [0.5, 0.5]),
        ([1.0, 1.0], [0.5, 0.5]),
        ([2.0, 0.0], [1.0, 0.0]),
        ([0.9, 0.3], [0.8, 0.2]),
        ([-1.0, -1.0], [0.5, 0.5]),
        ([0.0, 0.4, 0.9], [0.0, 0.25, 0.75]),
    ],
)
def test_projection_by_hand(given_: list[float], expected: list[float]) -> None:
    result = project_on_simplex(torch.tensor(given_, dtype=torch.float64))
    assert result.tolist() == pytest.approx(expected)


POINTS = st.lists(st.floats(-5, 5), min_size=2, max_size=6).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


@given(POINTS)
def test_projection_lands_on_the_simplex_and_stays(point: Tensor) -> None:
    result = project_on_simplex(point)
    assert float(result.min()) >= 0
    assert float(result.sum()) == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(project_on_simplex(result), result, rtol=0, atol=1e-9)


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=3))
def test_projection_is_the_nearest_point(values: list[float]) -> None:
    point = np.array(values)
    result = project_on_simplex(torch.from_numpy(point)).numpy()
    steps = np.linspace(0, 1, 61)
    grid = [
        np.array([*parts, 1 - sum(parts)])
        for parts in itertools.product(steps, repeat=len(point) - 1)
        if sum(parts) <= 1
    ]
    nearest = min(float(((point - candidate) ** 2).sum()) for candidate in grid)
    assert float(((point - result) ** 2).sum()) <= nearest + 1e-12


class Mixed(nn.Module):
    """A network with all that RAT moves: convolution, large and small linear layer, mixing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.convolution = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.large = nn.Linear(12, 200)
        self.below = nn.Linear(200, 199)
        self.head = nn.Linear(199, 5)
        self.combination = ConvexCombination()
        nn.init.constant_(self.combination.weights[:1], 1.5)
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.norm(self.convolution(images))
        mixed = self.combination(hidden, hidden.square())
        logits: Tensor = self.head(self.below(self.large(mixed.flatten(1)).tanh()).tanh())
        return logits


def test_a_step_projects_the_weights_and_only_them() -> None:
    model, beta = Mixed(), 0.05
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    # Projection alone: no perturbation, and an optimiser that stands still.
    strategy = Strategy(project=rat(RATConfig(method="rat", beta=beta)).project)
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    images = torch.rand(4, 1, 4, 4, dtype=torch.float64)
    with seeded(2):
        training_step(model, still, strategy, images, torch.tensor([0, 1, 2, 3]))
    after = dict(model.named_parameters())

    for name in ("convolution.weight", "below.weight", "head.weight"):
        torch.testing.assert_close(after[name], retract(before[name], beta), rtol=0, atol=1e-14)
        assert bool((after[name] != before[name]).flatten(1).any(1).all())
    drawn = (after["large.weight"] != before["large.weight"]).any(1)
    assert int(drawn.sum()) == 60
    torch.testing.assert_close(
        after["large.weight"][drawn],
        retract(before["large.weight"][drawn], beta),
        rtol=0,
        atol=1e-12,
    )
    assert after["combination.weights"].tolist() == [1.0, 0.0]
    for name in ("convolution.bias", "norm.weight", "norm.bias", "large.bias", "head.bias"):
        assert torch.equal(after[name], before[name]), name


def test_other_rows_are_drawn_at_the_next_step() -> None:
    model = Mixed()
    project = rat(RATConfig(method="rat", beta=0.05)).project
    assert project is not None
    drawn = []
    for _ in range(2):
        before = model.large.weight.detach().clone()
        project(model)
        drawn.append((model.large.weight != before).any(1))
    assert not torch.equal(drawn[0], drawn[1])
    assert model.large.weight.requires_grad


def test_without_beta_nothing_is_projected() -> None:
    strategy = rat(RATConfig(method="rat", beta=0.0))
    assert strategy.project is None
    assert strategy.perturb is not None
