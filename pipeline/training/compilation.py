"""Whether a training is long enough for its layers to be compiled."""

import shutil
from typing import Literal

import torch
from torch import nn

from models import InputSpec, compile_layers
from models.neurons import SpikingNeurons

CompileChoice = Literal["auto", "on", "off"]
WORTHWHILE = 6e10
"""Neuron updates (neurons x T x images) from which on `auto` compiles on a CPU.

Neurons alone were compiled in 12 to 20 s of one core and saved 2.5 ns an update, forward and
backward (an AMD EPYC): this is 7 to 12 times the break-even, and what attacks and penalties
add to each image is not counted. Wide convolutions take 10 to 20 s more, and save a third to a half
of VGG-11's steps."""


def num_updates(model: nn.Module, spec: InputSpec, num_timesteps: int) -> int:
    """Neuron updates of one image's forward pass: neurons times time steps."""
    counts: list[int] = []
    handles = [
        layer.register_forward_hook(lambda _, __, spikes: counts.append(spikes.numel()))
        for layer in model.modules()
        if isinstance(layer, SpikingNeurons)
    ]
    time = (num_timesteps,) if spec.frames else ()
    weight = next(model.parameters())
    image = weight.new_zeros(1, *time, spec.channels, spec.height, spec.width)
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(image)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return sum(counts)


def compile_if_worthwhile(
    model: nn.Module, choice: CompileChoice, *, updates: float, device: torch.device
) -> bool:
    """Have the layers of a network run as compiled kernels, or not.

    `auto` does so on a CPU with a compiler, for long trainings; on a GPU the gain is not measured,
    and it takes `on`.

    Args:
        model: On `device`; its weights and their names stay as they are.
        choice: The setting `compute.compile`.
        updates: Neuron updates that the whole training takes, resumed or not, so that a resumed
            one decides as the unbroken one did.
        device: Where the network computes.

    Returns:
        Whether they are compiled.
    """
    compiler = shutil.which("g++") is not None
    auto = device.type == "cpu" and compiler and updates >= WORTHWHILE
    if choice == "off" or (choice == "auto" and not auto):
        return False
    compile_layers(model)
    return True
