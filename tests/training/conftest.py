"""Small networks to train."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models import InputSpec, ModelConfig, SpikingClassifier, build_model


@pytest.fixture
def spiking() -> Callable[[], SpikingClassifier]:
    """Makes the same small spiking network of images (B, 1, 8, 8) at every call."""

    def make() -> SpikingClassifier:
        torch.manual_seed(8)
        return build_model(
            ModelConfig(architecture="small", num_timesteps=2, channels=(4, 6, 6)),
            InputSpec(channels=1, height=8, width=8, num_classes=10),
        )

    return make


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Sixteen images (16, 1, 8, 8) and their labels."""
    generator = torch.Generator().manual_seed(9)
    images = torch.rand(16, 1, 8, 8, generator=generator)
    return images, torch.randint(10, (16,), generator=generator)


class Linear(nn.Module):
    """Logits W x + b with the weights given, float64: every difference quotient is known."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.double())
        self.bias = nn.Parameter(bias.double())

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.T + self.bias


@pytest.fixture
def linear() -> type[Linear]:
    """The class of linear networks."""
    return Linear
