"""Oracles: a network that is differentiated another way, without touching the network judged."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from models.config import GradientEstimator
from models.neurons import SpikingNeurons

Classifier = Callable[[Tensor], Tensor]


@contextmanager
def _estimating(model: nn.Module, estimator: GradientEstimator) -> Iterator[None]:
    """Put `estimator` on every spiking layer; whatever happens, put the old ones back."""
    layers = [layer for layer in model.modules() if isinstance(layer, SpikingNeurons)]
    before = [layer.estimator for layer in layers]
    try:
        for layer in layers:
            layer.estimator = estimator
        yield
    finally:
        for layer, old in zip(layers, before, strict=True):
            layer.estimator = old


def oracle(model: nn.Module, estimator: GradientEstimator) -> Classifier:
    """The classifier an attacker differentiates in place of `model`.

    The estimator is captured in the graph during the forward pass, so the model is its old self
    again before anybody calls backward. Weights, batch-norm mode and device are the model's.

    Args:
        model: A network from `build_model`.
        estimator: How its neurons are differentiated.

    Returns:
        A function from images, shape (B, C, H, W), to logits, shape (B, K).
    """

    def differentiated(images: Tensor) -> Tensor:
        with _estimating(model, estimator):
            logits: Tensor = model(images)
        return logits

    return differentiated
