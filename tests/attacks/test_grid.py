"""Attacked images on the grid: within ball and box, and no further from the clean one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.attacks.ball import Ball
from pipeline.attacks.flips import Flips
from pipeline.attacks.grid import excess, from_steps, in_reach, in_steps, radius_in_steps

STEPS = 65535


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    epsilon=st.sampled_from([0.0, 1 / 255, 2 / 255, 8 / 255, 0.1, 0.3, 1.0]),
    reach=st.sampled_from([0.3, 1.0, 1.001, 2.0]),
)
def test_within_ball_and_box_and_next_to_what_was_meant(
    seed: int, epsilon: float, reach: float
) -> None:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (4, 3, 5, 5), generator=random).float() / 255
    moved = (2 * torch.rand(images.shape, generator=random) - 1) * epsilon * reach
    corners = torch.rand(images.shape, generator=random) < 0.3
    moved = torch.where(corners, epsilon * moved.sign(), moved)
    tried = (images + moved).clamp(0, 1)
    whole, clean = in_reach(Ball(epsilon), tried, images, STEPS), in_steps(images, STEPS)
    assert torch.equal(whole, whole.round())
    assert not excess(Ball(epsilon), whole, clean, STEPS)
    assert whole.min() >= 0
    assert whole.max() <= STEPS
    distance = (whole - clean).abs()
    assert distance.max() <= radius_in_steps(epsilon, STEPS) <= epsilon * STEPS + 1e-6
    meant = (tried.double() * STEPS - clean).abs()
    assert bool((distance <= meant + 0.02).all())
    limit = meant.clamp(max=epsilon * STEPS)
    assert bool((distance > limit - 1.0).all())
    # What float32 holds reads as the same steps again.
    assert torch.equal(in_steps(from_steps(whole, STEPS, images), STEPS), whole)


def test_pixels_and_radii_of_eight_bits_are_whole() -> None:
    for numerator in range(256):
        assert radius_in_steps(numerator / 255, STEPS) == 257 * numerator
    pixels = torch.arange(256).float() / 255
    assert torch.equal(in_steps(pixels, STEPS), 257.0 * torch.arange(256).double())
    assert torch.equal(from_steps(in_steps(pixels, STEPS), STEPS, pixels), pixels)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_full_step_in_float32_is_not_cut(sign: int) -> None:
    images = torch.randint(20, 230, (50, 3, 8, 8)).float() / 255
    tried = images + sign * 8 / 255
    whole = in_reach(Ball(8 / 255), tried, images, STEPS)
    assert torch.equal(whole - in_steps(images, STEPS), torch.full_like(whole, sign * 2056.0))


COUNTS = 256
BUDGETS = [
    Ball(0.1, 0.0, float("inf")),
    Ball(0.1, 0.0, 1.0),
    Ball(0.1, 0.0, 5.0, 5.0),
    Ball(0.0, 0.0, 1.0),
    Flips(3),
]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**16), budget=st.sampled_from(BUDGETS), resized=st.booleans())
def test_event_frames_stay_within_each_threat_model(
    seed: int, budget: Ball | Flips, resized: bool
) -> None:
    random = torch.Generator().manual_seed(seed)
    frames = 6 * torch.rand(2, 3, 2, 4, 4, generator=random) ** 4
    frames = frames if resized else frames.round()
    meant = frames + torch.randn(frames.shape, generator=random)
    tried = budget.hold(meant, frames)
    whole, clean = in_reach(budget, tried, frames, COUNTS), in_steps(frames, COUNTS)
    # Half an event, where an entry of zeros and ones begins, may be another side of it on the grid.
    clear = (frames - 0.5).abs() > 1 / COUNTS
    apart = (whole / COUNTS - tried).abs()[clear].max()
    assert apart < (2.0 if resized else 1.0 + 1e-3) / COUNTS
    for found, unmoved in zip(whole, clean, strict=True):
        assert not excess(budget, found, unmoved, COUNTS)
        assert excess(budget, found + 6 * COUNTS, unmoved, COUNTS)


def test_what_exceeds_a_budget_is_told() -> None:
    clean = torch.tensor([0.0, 0.0, 300.0])
    assert "26 steps, the radius is 25" in excess(
        BUDGETS[0], torch.tensor([26.0, 0, 300]), clean, COUNTS
    )
    assert excess(BUDGETS[1], clean, clean, COUNTS)
    assert "other values" in excess(Flips(1), clean, clean, COUNTS)
    turned = torch.tensor([256.0, 256.0, 256.0])
    assert "turns 2 entries over, of 1" in excess(Flips(1), turned, clean, COUNTS)
    assert not excess(Flips(2), turned, clean, COUNTS)
