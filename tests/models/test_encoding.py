"""How images become T inputs."""

import math

import pytest
import torch

from models import InputSpec, ModelConfig, build_model
from models.encoding import direct, frames, poisson
from models.network import Normalization


def test_direct_repeats_the_image_time_outermost() -> None:
    images = torch.rand(2, 3, 4, 5)
    encoded = direct(images, 3)
    assert encoded.shape == (6, 3, 4, 5)
    for step in range(3):
        assert torch.equal(encoded[2 * step : 2 * step + 2], images)


def test_poisson_spikes_as_often_as_the_pixel_says() -> None:
    images = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0]).view(1, 1, 1, 5)
    torch.manual_seed(0)
    draws = 20_000
    spikes = poisson(images, draws)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    rates = spikes.mean(0).flatten().tolist()
    assert rates[4] == 1.0
    for rate, pixel in zip(rates, images.flatten().tolist(), strict=True):
        assert abs(rate - pixel) <= 4 * math.sqrt(pixel * (1 - pixel) / draws) + 1e-3


def test_poisson_draws_anew_at_every_call_and_step() -> None:
    images = torch.full((1, 1, 20, 20), 0.5)
    torch.manual_seed(0)
    first, second = poisson(images, 2), poisson(images, 2)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_poisson_gradient_is_the_identity_summed_over_time() -> None:
    images = torch.rand(2, 1, 3, 3, requires_grad=True)
    weights = torch.randn(4 * 2, 1, 3, 3)
    (gradient,) = torch.autograd.grad((poisson(images, 4) * weights).sum(), images)
    torch.testing.assert_close(gradient, weights.unflatten(0, (4, 2)).sum(0))


def test_poisson_network_skips_the_normalisation() -> None:
    spec = InputSpec(channels=1, height=8, width=8, num_classes=10, mean=(0.5,), std=(0.2,))
    plain = build_model(ModelConfig(architecture="small", num_timesteps=2), spec)
    random = build_model(
        ModelConfig(architecture="small", num_timesteps=2, encoding="poisson"), spec
    )
    assert isinstance(plain.normalization, Normalization)
    assert isinstance(random.normalization, torch.nn.Identity)
    images = torch.tensor([0.5, 0.7]).view(2, 1, 1, 1)
    assert plain.normalization(images).flatten().tolist() == pytest.approx([0.0, 1.0], abs=1e-6)


def test_frames_are_used_as_they_are() -> None:
    samples = torch.rand(2, 3, 1, 4, 4)
    folded = frames(samples, 3)
    assert folded.shape == (6, 1, 4, 4)
    for sample in range(2):
        for step in range(3):
            assert torch.equal(folded[2 * step + sample], samples[sample, step])


@pytest.mark.parametrize("shape", [(2, 4, 1, 4, 4), (2, 1, 4, 4)])
def test_frames_of_another_length_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"T=3.*got \(2, "):
        frames(torch.rand(shape), 3)


def test_frame_network_neither_normalises_nor_repeats() -> None:
    spec = InputSpec(
        channels=2, height=8, width=8, num_classes=4, mean=(0.5, 0.5), std=(0.2, 0.2), frames=True
    )
    model = build_model(ModelConfig(architecture="small", num_timesteps=3), spec)
    assert isinstance(model.normalization, torch.nn.Identity)
    assert model(torch.rand(2, 3, 2, 8, 8)).shape == (2, 4)
