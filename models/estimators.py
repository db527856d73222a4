"""Oracles: a network that is differentiated another way, without touching the network judged."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from models import foreign
from models.backward_rules import Adaptation
from models.config import GradientEstimator
from models.neurons import SpikingNeurons


def _spiking_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that an estimator concerns, by name: ours and SpikingJelly's."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, SpikingNeurons) or foreign.kind(module)
    }


def _worn(layer: nn.Module, estimator: GradientEstimator, memory: Adaptation) -> dict[str, Any]:
    """The attributes that make a layer differentiate its spikes by `estimator`."""
    if isinstance(layer, SpikingNeurons):
        own = estimator.method == "own"
        return {} if own else {"estimator": estimator, "memory": memory}
    return foreign.worn(layer, estimator, memory)


@contextmanager
def _estimating(
    layers: Sequence[nn.Module], estimator: GradientEstimator, memory: Sequence[Adaptation]
) -> Iterator[None]:
    """Put `estimator` on every spiking layer; whatever happens, put the old ones back.

    Attributes go straight into the layers' dictionaries: there they hide methods and submodules
    of their name, and no registration changes.
    """
    attributes = [
        _worn(layer, estimator, remembered)
        for layer, remembered in zip(layers, memory, strict=True)
    ]
    before = [
        {name: vars(layer)[name] for name in new if name in vars(layer)}
        for layer, new in zip(layers, attributes, strict=True)
    ]
    try:
        for layer, new in zip(layers, attributes, strict=True):
            vars(layer).update(new)
        yield
    finally:
        for layer, new, old in zip(layers, attributes, before, strict=True):
            for name in new:
                vars(layer).pop(name, None)
            vars(layer).update(old)


class NetworkOracle:
    """The classifier an attacker differentiates in place of a network.

    The estimator is captured in the graph during the forward pass, so the model is its old self
    again before anybody calls backward. Weights, batch-norm mode and device are the model's.
    SpikingJelly's neurons are at rest before each pass. Some estimators remember earlier steps of
    an attack, sample by sample: `fresh` forgets, `narrowed` keeps some of the samples,
    `learning=False` adds nothing.
    """

    def __init__(
        self, model: nn.Module, estimator: GradientEstimator, memory: Sequence[Adaptation] = ()
    ) -> None:
        self._model, self._estimator = model, estimator
        self._layers = list(_spiking_layers(model).values())
        self._memory = list(memory) or [Adaptation() for _ in self._layers]

    @property
    def passes(self) -> int:
        """Forward passes that an answer takes."""
        return 2 if self._estimator.method == "relu" else 1

    def __call__(self, images: Tensor, *, learning: bool = True) -> Tensor:
        """Logits, shape (B, K), of images, shape (B, C, H, W)."""
        for remembered in self._memory:
            remembered.learning = learning
        foreign.reset_memories(self._model)
        with _estimating(self._layers, self._estimator, self._memory):
            logits: Tensor = self._model(images)
        if self.passes == 1:
            return logits
        # The network with ReLUs shows the way; what counts is what the spikes say.
        foreign.reset_memories(self._model)
        with torch.no_grad():
            own: Tensor = self._model(images)
        return own + (logits - logits.detach())

    def fresh(self) -> "NetworkOracle":
        """The same oracle before its first batch."""
        return NetworkOracle(self._model, self._estimator)

    def narrowed(self, keep: Tensor) -> "NetworkOracle":
        """The oracle for some of the last batch's samples, given by mask or positions."""
        memory = [remembered.narrowed(keep) for remembered in self._memory]
        return NetworkOracle(self._model, self._estimator, memory)


def unsupported(model: nn.Module, estimator: GradientEstimator) -> str:
    """Why a network cannot be differentiated by an estimator.

    Args:
        model: A classifier of images: ours, or one of SpikingJelly's neurons.
        estimator: How its neurons would be differentiated.

    Returns:
        One sentence; empty if `oracle` takes the two.
    """
    if estimator.method == "own":
        return ""
    layers = _spiking_layers(model)
    if not layers:
        return "There are no spiking neurons known here: the network has its own gradient alone."
    for name, layer in layers.items():
        why = "" if isinstance(layer, SpikingNeurons) else foreign.obstacle(layer, estimator)
        if why:
            place = f"{name or 'the model'} ({type(layer).__name__})"
            return f"There is no {estimator.label} for {place}: {why}."
    return ""


def oracle(model: nn.Module, estimator: GradientEstimator) -> NetworkOracle:
    """The classifier an attacker differentiates in place of `model`.

    Args:
        model: A network from `build_model`, or a classifier of SpikingJelly's neurons.
        estimator: How its neurons are differentiated.

    Returns:
        A function from images, shape (B, C, H, W), to logits, shape (B, K).

    Raises:
        ValueError: There is no such gradient for this network; `unsupported` says why.
    """
    why = unsupported(model, estimator)
    if why:
        raise ValueError(why)
    return NetworkOracle(model, estimator)
