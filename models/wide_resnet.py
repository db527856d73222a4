"""WRN-16-4 of the paper: pre-activation residual blocks mixed by learnable weights."""

import torch
from torch import Tensor, nn

from models.config import InputSpec, ModelConfig
from models.layers import BatchNorm, Convolution, Linear
from models.network import SpikingClassifier
from models.neurons import SpikingNeurons

WIDTHS = (64, 128, 256)
STRIDES = (1, 2, 2)
BLOCKS_PER_STAGE = 2


class ConvexCombination(nn.Module):
    """c_0 * shortcut + c_1 * residual with learnable c, from (0.5, 0.5).

    Convex only where training projects `weights` on the simplex (RAT); SR leaves them free.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((2,), 0.5))

    def forward(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        """The weighted sum, shaped like both."""
        return self.weights[0] * shortcut + self.weights[1] * residual


class Block(nn.Module):
    """Pre-activation residual block; a 1x1 convolution on the shortcut where widths differ."""

    def __init__(self, config: ModelConfig, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1 = BatchNorm(channels)
        self.neurons1 = SpikingNeurons(config.neuron, config.num_timesteps)
        self.conv1 = Convolution(channels, width, 3, stride, padding=1, bias=False)
        self.norm2 = BatchNorm(width)
        self.neurons2 = SpikingNeurons(config.neuron, config.num_timesteps)
        self.conv2 = Convolution(width, width, 3, padding=1, bias=False)
        self.shortcut = (
            Convolution(channels, width, 1, stride, bias=False) if channels != width else None
        )
        self.combination = ConvexCombination()

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (T * B, C, H, W) to (T * B, width, H / stride, W / stride)."""
        active = self.neurons1(self.norm1(inputs))
        residual = self.conv2(self.neurons2(self.norm2(self.conv1(active))))
        shortcut = inputs if self.shortcut is None else self.shortcut(active)
        mixed: Tensor = self.combination(shortcut, residual)
        return mixed


def wrn16_4(config: ModelConfig, spec: InputSpec) -> SpikingClassifier:
    """WRN-16-4 for images of 32x32 (Sec. 5): 3 stages of 2 blocks, widths 64, 128, 256."""
    layers: list[nn.Module] = [Convolution(spec.channels, 16, 3, padding=1, bias=False)]
    channels = 16
    for width, stride in zip(WIDTHS, STRIDES, strict=True):
        for index in range(BLOCKS_PER_STAGE):
            layers.append(Block(config, channels, width, stride if index == 0 else 1))
            channels = width
    neurons = SpikingNeurons(config.neuron, config.num_timesteps)
    layers += [BatchNorm(channels), neurons, nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    head = Linear(channels, spec.num_classes)
    # The first block's batch norm is inside the block, so the convolution alone stands before.
    return SpikingClassifier(config, spec, nn.Sequential(*layers), head, num_static=1)
