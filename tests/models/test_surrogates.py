"""Surrogate derivatives: values by hand, unit area, symmetry."""

import math

import pytest
import torch

from models import SURROGATES
from models.config import DEFAULT_WIDTH


@pytest.mark.parametrize(
    ("name", "gamma", "excess", "expected"),
    [
        ("triangle", 1.0, 0.25, 0.75),
        ("triangle", 0.5, 0.25, 1.0),
        ("triangle", 2.0, -1.5, 0.125),
        ("triangle", 1.0, -1.0, 0.0),
        ("triangle", 1.0, 3.0, 0.0),
        ("sigmoid", 4.0, 0.0, 1.0),
        ("sigmoid", 4.0, 0.5, 4 * math.exp(-2) / (1 + math.exp(-2)) ** 2),
        ("arctangent", 2.0, 0.0, 1.0),
        ("arctangent", 2.0, 1 / math.pi, 0.5),
        ("arctangent", 1.0, -2 / math.pi, 0.25),
    ],
)
def test_value_by_hand(name: str, gamma: float, excess: float, expected: float) -> None:
    given = torch.tensor([excess], dtype=torch.float64)
    value = SURROGATES[name](given, gamma)
    assert value.item() == pytest.approx(expected, abs=1e-15)
    assert given.item() == excess


@pytest.mark.parametrize("name", sorted(SURROGATES))
@pytest.mark.parametrize("gamma", [0.3, 1.0, 4.0])
def test_area_is_one(name: str, gamma: float) -> None:
    # Integrated over the angle whose tangent the excess is, so that the tails are all there.
    angle = torch.linspace(-math.pi / 2, math.pi / 2, 400_001, dtype=torch.float64)[1:-1]
    values = SURROGATES[name](angle.tan(), gamma) / angle.cos().square()
    assert torch.trapezoid(values, angle).item() == pytest.approx(1.0, abs=2e-5)


@pytest.mark.parametrize("name", sorted(SURROGATES))
def test_even_and_highest_at_the_threshold(name: str) -> None:
    excess = torch.linspace(0, 5, 101, dtype=torch.float64)
    values = SURROGATES[name](excess, DEFAULT_WIDTH[name])
    assert torch.allclose(values, SURROGATES[name](-excess, DEFAULT_WIDTH[name]), atol=1e-15)
    assert bool((values.diff() <= 0).all())


def test_every_surrogate_has_a_default_width() -> None:
    assert set(DEFAULT_WIDTH) == set(SURROGATES)
