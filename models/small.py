"""A small network for images of 8x8 to 32x32: minutes on a CPU."""

from torch import nn

from models.config import InputSpec, ModelConfig
from models.layers import BatchNorm, Convolution, Linear
from models.network import SpikingClassifier
from models.neurons import SpikingNeurons


def small(config: ModelConfig, spec: InputSpec) -> SpikingClassifier:
    """Three 3x3 convolutions with batch norm and neurons, pooling after the last two."""
    layers: list[nn.Module] = []
    channels = spec.channels
    for index, width in enumerate(config.channels):
        layers += [Convolution(channels, width, 3, padding=1), BatchNorm(width)]
        layers.append(SpikingNeurons(config.neuron, config.num_timesteps))
        if index:
            layers.append(nn.AvgPool2d(2))
        channels = width
    layers.append(nn.Flatten())
    features = channels * (spec.height // 4) * (spec.width // 4)
    head = Linear(features, spec.num_classes)
    return SpikingClassifier(config, spec, nn.Sequential(*layers), head, num_static=2)
