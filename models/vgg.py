"""VGG-11 of the paper: 8 convolutions, average pooling after the spikes, 3 linear layers."""

from torch import nn

from models.config import InputSpec, ModelConfig
from models.layers import BatchNorm, Convolution, Linear
from models.network import SpikingClassifier
from models.neurons import SpikingNeurons

STAGES = ((64,), (128, 256), (512, 512, 512), (512, 512))
"""Channels of the convolutions; average pooling stands between stages."""
HIDDEN = 4096


def vgg11(config: ModelConfig, spec: InputSpec) -> SpikingClassifier:
    """VGG-11: C64-AP, C128-C256-AP, C512-C512-C512-AP, C512-C512, L4096-L4096-LK.

    C is a 3x3 convolution with bias, batch norm and neurons; L a linear layer and neurons; no
    dropout, no batch norm in the classifier. 32x32 images and 48x48 event frames (Sec. 5).
    """

    def neurons() -> SpikingNeurons:
        return SpikingNeurons(config.neuron, config.num_timesteps)

    layers: list[nn.Module] = []
    channels = spec.channels
    for index, stage in enumerate(STAGES):
        if index:
            layers.append(nn.AvgPool2d(2))
        for width in stage:
            layers += [Convolution(channels, width, 3, padding=1), BatchNorm(width), neurons()]
            channels = width
    pooled = 2 ** (len(STAGES) - 1)
    flat = channels * (spec.height // pooled) * (spec.width // pooled)
    layers += [nn.Flatten(), Linear(flat, HIDDEN), neurons()]
    layers += [Linear(HIDDEN, HIDDEN), neurons()]
    head = Linear(HIDDEN, spec.num_classes)
    return SpikingClassifier(config, spec, nn.Sequential(*layers), head, num_static=2)
