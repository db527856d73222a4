"""From configs to a network with its initial weights."""

from collections.abc import Callable

import torch

from models.config import FieldError, InputSpec, ModelConfig
from models.network import SpikingClassifier, initialize
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
