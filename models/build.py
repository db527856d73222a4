"""From configs to a network with its initial weights."""

from collections.abc import Callable

import torch
from torch import nn

from models.config import FieldError, InputSpec, ModelConfig
from models.layers import Convolution, Linear
from models.network import SpikingClassifier, initialize
from models.neurons import SpikingNeurons
from models.small import small
from models.vgg import vgg11
from models.wide_resnet import wrn16_4

ARCHITECTURES: dict[str, Callable[[ModelConfig, InputSpec], SpikingClassifier]] = {
    "small": small,
    "vgg11": vgg11,
    "wrn16_4": wrn16_4,
}
SMALLEST_SIDE = {"small": 4, "vgg11": 8, "wrn16_4": 4}


def check_fit(config: ModelConfig, spec: InputSpec) -> None:
    """Make sure that the architecture can take such images.

    Raises:
        FieldError: They are too small for it.
    """
    smallest = SMALLEST_SIDE[config.architecture]
    if min(spec.height, spec.width) < smallest:
        raise FieldError(
            "architecture",
            f"{config.architecture} needs images of at least {smallest}x{smallest}, "
            f"got {spec.height}x{spec.width}; write small, or use larger images",
        )


def build_model(config: ModelConfig, spec: InputSpec) -> SpikingClassifier:
    """A network with fresh weights from torch's global generator, in float32 on the CPU.

    Raises:
        FieldError: The images are too small for the architecture.
    """
    check_fit(config, spec)
    model = ARCHITECTURES[config.architecture](config, spec)
    initialize(model)
    # Convolutions are faster on channels-last weights, and hand the layout on to the neurons.
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def compile_layers(model: nn.Module) -> None:
    """Have a network compute by compiled kernels, and other algorithms, from now on.

    Neurons: spikes stay the same, gradients change by rounding (`models.compiled`). On a CPU, wide
    3x3 convolutions (`models.winograd`) and linear layers (`models.products`): values change by
    rounding. Kernels are compiled at their first use, in some ten to thirty seconds for each dtype.
    All else, the weights' names included, stays as it is.

    Args:
        model: On a device for which `torch.compile` has a compiler.
    """
    for layer in model.modules():
        if isinstance(layer, SpikingNeurons | Convolution | Linear):
            layer.compiled = True
