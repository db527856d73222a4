"""The guarantee that the framework gives for all attacks."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.attacks import Ball, FGSMConfig, build_attack
from pipeline.attacks.ball import bounded

LABELS = torch.tensor([0])


def held(returned: Tensor, images: Tensor, epsilon: float) -> Tensor:
    """What `bounded` makes of an attack that returns `returned`."""

    def attack(oracle: Any, images: Tensor, labels: Tensor, ball: Any, config: Any) -> Tensor:
        return returned

    return bounded(attack, FGSMConfig(), Ball(epsilon))(lambda x: x, images, LABELS)


def test_an_attack_that_leaves_the_ball_is_brought_back() -> None:
    images = torch.tensor([[0.5, 0.5, 0.95, 0.02, 0.5]])
    returned = torch.tensor([[0.9, -3.0, 1.04, -0.04, 0.53]])
    result = held(returned, images, 0.1)
    assert result.tolist()[0] == pytest.approx([0.6, 0.4, 1.0, 0.0, 0.53])
    # Inside, not even the last digit changes.
    assert result[0, 4] == returned[0, 4]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_pixel_that_is_no_number_is_an_error(value: float) -> None:
    images = torch.full((1, 4), 0.5)
    returned = images.clone()
    returned[0, 2] = value
    with pytest.raises(ArithmeticError, match="fgsm"):
        held(returned, images, 0.1)


def test_a_gradient_that_is_no_number_does_not_pass_for_robustness() -> None:
    def rootlike(images: Tensor) -> Tensor:
        # Finite logits; at 0.5 the root's infinite slope meets a zero: the gradient is NaN.
        score = (images.flatten(1)[:, 0] - 0.5).square().sqrt()
        return torch.stack([score + 1, score], dim=1)

    images = torch.full((1, 4), 0.5)
    attack = build_attack(FGSMConfig(), 0.1)
    with pytest.raises(ArithmeticError):
        attack(rootlike, images, LABELS)


def test_a_graph_of_the_attacks_own_is_cut() -> None:
    images = torch.full((1, 4), 0.5)
    assert not held((images + 0.01).requires_grad_(), images, 0.1).requires_grad


PIXELS = st.lists(st.floats(0, 1), min_size=1, max_size=6)
RADII = st.floats(0, 1)


@st.composite
def points(draw: st.DrawFn) -> tuple[Tensor, Tensor, float]:
    """Anything, an image in the box, a radius."""
    image = draw(PIXELS)
    anything = draw(st.lists(st.floats(-1e3, 1e3), min_size=len(image), max_size=len(image)))
    as_tensors = [torch.tensor(values, dtype=torch.float64) for values in (anything, image)]
    return as_tensors[0], as_tensors[1], draw(RADII)


@given(points())
def test_projection_is_the_nearest_point(case: tuple[Tensor, Tensor, float]) -> None:
    anything, image, epsilon = case
    result = Ball(epsilon).project(anything, image)
    assert float((result - image).abs().max()) <= epsilon + 1e-12
    assert float(result.min()) >= 0
    assert float(result.max()) <= 1
    lower, upper = (image - epsilon).clamp_min(0), (image + epsilon).clamp_max(1)
    nearest = np.clip(anything.numpy(), lower.numpy(), upper.numpy())
    np.testing.assert_allclose(result.numpy(), nearest, rtol=0, atol=1e-12)


@given(points())
def test_projecting_twice_changes_nothing(case: tuple[Tensor, Tensor, float]) -> None:
    anything, image, epsilon = case
    once = Ball(epsilon).project(anything, image)
    torch.testing.assert_close(Ball(epsilon).project(once, image), once, rtol=0, atol=1e-12)


@given(points())
def test_bounded_keeps_what_is_inside(case: tuple[Tensor, Tensor, float]) -> None:
    anything, image, epsilon = case
    inside = Ball(epsilon).project(anything, image)
    # Rounding may leave a pixel one unit outside; the guarantee allows a millionth of the radius.
    kept = held(inside[None], image[None], epsilon)[0]
    if epsilon > 1e-3:
        assert torch.equal(kept, inside)
    assert float((kept - image).abs().max()) <= epsilon * (1 + 1e-6) + 1e-12
