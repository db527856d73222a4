"""Looks inside a network: where its neurons' voltages lie."""

from typing import Any

import torch
from torch import Tensor, nn

from models.dynamics import fire
from models.neurons import SpikingNeurons
from models.surrogates import SURROGATES

REACH = 0.01
"""A voltage lies within a surrogate's support where the slope is this share of its peak."""


def membrane_support(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Share of charged voltages at which the training surrogate passes a gradient.

    Args:
        model: A network of `SpikingNeurons`; others have no entry.
        images: Shape (B, C, H, W).

    Returns:
        `support_0`, `support_1`, ... by layer in the network's order, each (B,), in [0, 1].
    """
    layers = [layer for layer in model.modules() if isinstance(layer, SpikingNeurons)]
    shares: dict[str, Tensor] = {}

    def look(number: int) -> Any:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(layer, SpikingNeurons)
            current = inputs[0].unflatten(0, (layer.num_timesteps, -1))
            _, charged = fire(current, layer.leak, layer.threshold)
            surrogate, gamma = SURROGATES[layer.estimator.surrogate], layer.estimator.gamma
            peak = surrogate(charged.new_zeros(1), gamma)
            slope = surrogate(charged - layer.threshold, gamma)
            inside = (slope >= REACH * peak).to(current.dtype)
            shares[f"support_{number}"] = inside.transpose(0, 1).flatten(1).mean(1)

        return hook

    handles = [layer.register_forward_pre_hook(look(number)) for number, layer in enumerate(layers)]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return shares
