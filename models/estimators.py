"""Oracles: a network that is differentiated another way, without touching the network judged."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from models import foreign
from models.backward_rules import Adaptation, rate_spikes
from models.config import GradientEstimator
from models.encoding import direct
from models.network import SpikingClassifier
from models.neurons import SpikingNeurons

TIMELESS = frozenset({"rga", "bptr", "hart", "relu"})
"""Methods whose slopes are the same at every time step."""


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
def _wearing(modules: Sequence[nn.Module], attributes: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Put attributes on modules; whatever happens, put the old ones back.

    They go straight into the modules' dictionaries: there they hide methods and submodules of
    their name, and no registration changes.
    """
    before = [
        {name: vars(module)[name] for name in new if name in vars(module)}
        for module, new in zip(modules, attributes, strict=True)
    ]
    try:
        for module, new in zip(modules, attributes, strict=True):
            vars(module).update(new)
        yield
    finally:
        for module, new, old in zip(modules, attributes, before, strict=True):
            for name in new:
                vars(module).pop(name, None)
            vars(module).update(old)


def _sees_one_image(model: nn.Module) -> bool:
    """Whether all time steps get the same input, and no layer mixes them outside the neurons."""
    return (
        isinstance(model, SpikingClassifier)
        and model.encode is direct
        and not any(module.training for module in model.modules())
    )


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
        differentiated = torch.is_grad_enabled() and images.requires_grad
        if differentiated and self._estimator.method in TIMELESS and _sees_one_image(self._model):
            return self._at_one_step(images)
        foreign.reset_memories(self._model)
        worn = [
            _worn(layer, self._estimator, remembered)
            for layer, remembered in zip(self._layers, self._memory, strict=True)
        ]
        with _wearing(self._layers, worn):
            logits: Tensor = self._model(images)
        if self.passes == 1:
            return logits
        # The network with ReLUs shows the way; what counts is what the spikes say.
        foreign.reset_memories(self._model)
        with torch.no_grad():
            own: Tensor = self._model(images)
        return own + (logits - logits.detach())

    def _at_one_step(self, images: Tensor) -> Tensor:
        """Logits whose gradient, the same at all time steps, is computed at one of them.

        Between neurons the network is affine and does not change over time, and the slopes do
        not either. So the gradient is that of a network of one time step in which each neuron
        multiplies its current by its slope: T times cheaper, and the same but for rounding. It
        is a gradient of the images alone: asked for that of a weight, autograd raises.
        """
        slopes: dict[nn.Module, Tensor] = {}

        def fires(layer: nn.Module) -> Callable[[Tensor], Tensor]:
            assert isinstance(layer, SpikingNeurons)
            constants = {"leak": layer.leak, "threshold": layer.threshold}

            def forward(current: Tensor) -> Tensor:
                folded = current.unflatten(0, (layer.num_timesteps, -1))
                spikes, slopes[layer] = rate_spikes(folded, self._estimator, **constants)
                return spikes.flatten(0, 1)

            return forward

        def passes_on(layer: nn.Module) -> Callable[[Tensor], Tensor]:
            return lambda current: current * slopes[layer]

        relu = self._estimator.method == "relu"
        step: dict[str, Any] = {"num_timesteps": 1}
        fire_all = [{} if relu else {"forward": fires(layer)} for layer in self._layers]
        tangents = [
            step | ({"estimator": self._estimator} if relu else {"forward": passes_on(layer)})
            for layer in self._layers
        ]
        weights = {name: weight.detach() for name, weight in self._model.named_parameters()}
        with torch.no_grad(), _wearing(self._layers, fire_all):
            logits: Tensor = self._model(images)
        with _wearing([self._model, *self._layers], [step, *tangents]):
            tangent: Tensor = functional_call(self._model, weights, (images,))
        return logits + (tangent - tangent.detach())

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
