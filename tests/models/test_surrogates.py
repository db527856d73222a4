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
        ("rectangular", 1.0, 0.49, 1.0),
        ("rectangular", 4.0, -1.9, 0.25),
        ("rectangular", 4.0, 2.0, 0.0),
        ("rectangular", 0.25, 0.13, 0.0),
        ("exponential", 1.0, 0.0, 1.0),
        ("exponential", 2.0, -0.75, math.exp(-1.5)),
        ("exponential", 0.5, 3.0, math.exp(-1.5)),
        ("damped_exponential", 1.0, 0.0, 0.3),
        ("damped_exponential", 2.0, -0.75, 0.3 * math.exp(-1.5)),
        ("straight_through", 1.0, 0.0, 1.0),
        ("straight_through", 1.0, -1e6, 1.0),
    ],
)
def test_value_by_hand(name: str, gamma: float, excess: float, expected: float) -> None:
    given = torch.tensor([excess], dtype=torch.float64)
    value = SURROGATES[name](given, gamma)
    assert value.item() == pytest.approx(expected, abs=1e-15)
    assert given.item() == excess


@pytest.mark.parametrize("name", ["triangle", "sigmoid", "arctangent", "rectangular"])
@pytest.mark.parametrize("gamma", [0.3, 1.0, 4.0])
def test_area_is_one(name: str, gamma: float) -> None:
    # Integrated over the angle whose tangent the excess is, so that the tails are all there.
    angle = torch.linspace(-math.pi / 2, math.pi / 2, 400_001, dtype=torch.float64)[1:-1]
    values = SURROGATES[name](angle.tan(), gamma) / angle.cos().square()
    assert torch.trapezoid(values, angle).item() == pytest.approx(1.0, abs=2e-5)


@pytest.mark.parametrize(("name", "area"), [("exponential", 2.0), ("damped_exponential", 0.6)])
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_area_of_an_exponential_shrinks_with_its_width(
    name: str, area: float, gamma: float
) -> None:
    excess = torch.linspace(-80, 80, 400_001, dtype=torch.float64)
    values = SURROGATES[name](excess, gamma)
    assert torch.trapezoid(values, excess).item() == pytest.approx(area / gamma, rel=1e-6)


@pytest.mark.parametrize("name", sorted(SURROGATES))
def test_even_and_highest_at_the_threshold(name: str) -> None:
    excess = torch.linspace(0, 5, 101, dtype=torch.float64)
    values = SURROGATES[name](excess, DEFAULT_WIDTH[name])
    assert torch.allclose(values, SURROGATES[name](-excess, DEFAULT_WIDTH[name]), atol=1e-15)
    assert bool((values.diff() <= 0).all())


def test_every_surrogate_has_a_default_width() -> None:
    assert set(SURROGATES) <= set(DEFAULT_WIDTH)
    # Two methods have a width of their own.
    assert set(DEFAULT_WIDTH) - set(SURROGATES) == {"hart", "assg"}


@pytest.mark.parametrize("name", sorted(SURROGATES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_shape_and_dtype_and_its_input(name: str, dtype: torch.dtype) -> None:
    excess = torch.linspace(-2, 2, 6, dtype=dtype).view(2, 3)
    before = excess.clone()
    values = SURROGATES[name](excess, 1.5)
    assert (values.dtype, values.shape) == (dtype, excess.shape)
    assert torch.equal(excess, before)
