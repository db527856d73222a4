"""A network from its description: plain data, as a checkpoint's header or an exported folder holds.

An exported network takes a copy of this file along: it needs PyTorch and `models` alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models import InputSpec, ModelConfig, NeuronConfig, SpikingClassifier, build_model

DESCRIPTION, WEIGHTS = "network.json", "weights.pt"


def described(model: Mapping[str, Any], spec: Mapping[str, Any]) -> SpikingClassifier:
    """A network with initial weights, on torch's default device.

    Args:
        model: A `ModelConfig` as plain data.
        spec: An `InputSpec` as plain data.

    Raises:
        TypeError: A field is missing, or unknown.
        ValueError: A field has a value that it cannot have.
    """
    config = dict(model)
    neuron = NeuronConfig(**config.pop("neuron"))
    channels = tuple(config.pop("channels"))
    shape = dict(spec)
    for key in ("mean", "std"):
        shape[key] = None if shape[key] is None else tuple(shape[key])
    return build_model(ModelConfig(**config, neuron=neuron, channels=channels), InputSpec(**shape))


def read_network(folder: Path) -> SpikingClassifier:
    """The network of an exported folder with its weights, in evaluation mode, on the CPU."""
    about = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    model = described(about["model"], about["input"])
    model.load_state_dict(torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True))
    return model.eval()
