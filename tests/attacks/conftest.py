"""Networks to attack: smooth ones, where numbers are exact, and a spiking one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models import InputSpec, ModelConfig, build_model


def smooth_network(num_classes: int = 4) -> nn.Sequential:
    """Convolution, tanh, softplus: no kinks, float64, evaluation mode, random weights."""
    torch.manual_seed(5)
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


@pytest.fixture
def smooth() -> nn.Sequential:
    """A smooth network of images (B, 3, 8, 8) in float64."""
    return smooth_network()


@pytest.fixture
def spiking() -> nn.Module:
    """A spiking network of the same images, in evaluation mode, whose layers fire."""
    torch.manual_seed(6)
    model = build_model(
        ModelConfig(architecture="small", num_timesteps=3, channels=(4, 6, 6)),
        InputSpec(channels=3, height=8, width=8, num_classes=4),
    )
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        model(torch.rand(16, 3, 8, 8))
    return model.eval()


@pytest.fixture
def batch() -> Callable[[torch.dtype], tuple[Tensor, Tensor]]:
    """Seven images that touch both ends of the box, and their labels."""

    def make(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(7)
        images = torch.rand(7, 3, 8, 8, generator=generator, dtype=torch.float64)
        images = ((images - 0.5) * 1.2 + 0.5).clamp(0, 1)
        labels = torch.randint(4, (7,), generator=generator)
        return images.to(dtype), labels

    return make
