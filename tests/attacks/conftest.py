"""Networks to attack: smooth ones, where numbers are exact, and a spiking one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from models import InputSpec, ModelConfig, build_model


@contextmanager
def drawn_in(dtype: torch.dtype, seed: int) -> Iterator[None]:
    """The same weights whatever the test's own default dtype is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    torch.manual_seed(seed)
    yield
    torch.set_default_dtype(before)


def smooth_network(num_classes: int = 4) -> nn.Sequential:
    """Convolution, tanh, softplus: no kinks, float64, evaluation mode, random weights."""
    with drawn_in(torch.float32, seed=5):
        network = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.Tanh(),
            nn.Conv2d(6, 6, 3, stride=2, padding=1),
            nn.Softplus(),
            nn.Flatten(),
            nn.Linear(6 * 16, num_classes),
        )
    return network.double().eval()


class _Sine(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.sin()


@pytest.fixture
def curved() -> nn.Sequential:
    """Ten classes that change within a small ball, so that steps and momentum leave a trace.

    Class 0 is lifted: at small radii it stands in some places and falls in others.
    """
    with drawn_in(torch.float64, seed=5), torch.no_grad():
        hidden, head = nn.Linear(192, 40), nn.Linear(40, 10)
        hidden.weight.normal_(0, 0.5)
        head.weight.normal_()
        head.bias[0] = 16.0
    return nn.Sequential(nn.Flatten(), hidden, _Sine(), head).eval()


@pytest.fixture
def float64() -> Iterator[None]:
    """New tensors are float64, those that other people's attacks make on their way included."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def smooth() -> nn.Sequential:
    """A smooth network of images (B, 3, 8, 8) in float64."""
    return smooth_network()


@pytest.fixture
def ten_classes() -> nn.Sequential:
    """The same with ten classes."""
    return smooth_network(10)


def spiking_network(num_classes: int = 4) -> nn.Module:
    """A spiking network of the same images, in evaluation mode, whose layers fire."""
    with drawn_in(torch.float32, seed=6):
        model = build_model(
            ModelConfig(architecture="small", num_timesteps=3, channels=(4, 6, 6)),
            InputSpec(channels=3, height=8, width=8, num_classes=num_classes),
        )
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
        with torch.no_grad():
            model(torch.rand(16, 3, 8, 8))
    return model.eval()


@pytest.fixture
def spiking() -> nn.Module:
    """A spiking network of four classes."""
    return spiking_network()


@pytest.fixture
def spiking_ten() -> nn.Module:
    """A spiking network of ten classes."""
    return spiking_network(10)


@pytest.fixture
def batch() -> Callable[..., tuple[Tensor, Tensor]]:
    """Images that touch both ends of the box, and their labels."""

    def make(
        dtype: torch.dtype = torch.float64, count: int = 7, num_classes: int = 4
    ) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(7)
        images = torch.rand(count, 3, 8, 8, generator=generator, dtype=torch.float64)
        images = ((images - 0.5) * 1.2 + 0.5).clamp(0, 1)
        labels = torch.randint(num_classes, (count,), generator=generator)
        return images.to(dtype), labels

    return make
