"""An oracle differentiates a network another way and leaves no trace on it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import (
    GradientEstimator,
    InputSpec,
    ModelConfig,
    NeuronConfig,
    SpikingClassifier,
    build_model,
    oracle,
)
from models.neurons import SpikingNeurons

ESTIMATORS = [
    GradientEstimator(),
    GradientEstimator(width=2.0),
    GradientEstimator(surrogate="sigmoid"),
    GradientEstimator(surrogate="arctangent"),
    GradientEstimator(method="rga"),
    GradientEstimator(method="bptr"),
]


@pytest.fixture
def model() -> SpikingClassifier:
    torch.manual_seed(0)
    network = build_model(
        ModelConfig(architecture="small", num_timesteps=3, neuron=NeuronConfig(width=0.7)),
        InputSpec(channels=1, height=8, width=8, num_classes=10),
    )
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        # One batch gives running statistics at which all layers fire in evaluation mode.
        network(torch.rand(8, 1, 8, 8))
    return network


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def in_force(model: nn.Module) -> list[GradientEstimator]:
    return [m.estimator for m in model.modules() if isinstance(m, SpikingNeurons)]


def input_gradient(classifier: Any, images: Tensor) -> Tensor:
    images = images.detach().requires_grad_()
    # Not the plain sum: its gradient could vanish by symmetry.
    logits = classifier(images)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum() - 2 * logits[:, 1].sum(), images)
    return gradient


def test_estimators_are_put_back(model: SpikingClassifier, images: Tensor) -> None:
    before = in_force(model)
    assert [estimator.label for estimator in before] == ["triangle-0.7"] * 3
    for estimator in ESTIMATORS:
        seen: list[GradientEstimator] = []
        layer = next(m for m in model.modules() if isinstance(m, SpikingNeurons))
        handle = layer.register_forward_hook(lambda m, _, __, s=seen: s.append(m.estimator))
        oracle(model, estimator)(images)
        handle.remove()
        assert seen == [estimator]
        assert in_force(model) == before


def test_estimators_are_put_back_after_a_failure(model: SpikingClassifier) -> None:
    before = in_force(model)
    target = oracle(model, GradientEstimator(method="rga"))
    with pytest.raises(RuntimeError):
        target(torch.rand(2, 5, 8, 8))
    assert in_force(model) == before


def test_oracles_differ_and_their_logits_do_not(model: SpikingClassifier, images: Tensor) -> None:
    model.eval()
    gradients = [input_gradient(oracle(model, estimator), images) for estimator in ESTIMATORS]
    for first in range(len(gradients)):
        for second in range(first):
            difference = (gradients[first] - gradients[second]).abs().max()
            assert float(difference) > 1e-6, (ESTIMATORS[first], ESTIMATORS[second])
    own = model(images)
    for estimator in ESTIMATORS:
        # Random weights put no voltage exactly on the threshold, where RGA's spikes differ.
        assert torch.equal(oracle(model, estimator)(images), own)


def test_the_training_estimator_is_the_default(model: SpikingClassifier, images: Tensor) -> None:
    model.eval()
    own = input_gradient(model, images)
    assert torch.equal(own, input_gradient(oracle(model, GradientEstimator(width=0.7)), images))


@pytest.mark.parametrize("training", [False, True])
def test_nothing_else_changes(model: SpikingClassifier, images: Tensor, training: bool) -> None:
    model.train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for estimator in ESTIMATORS:
        input_gradient(oracle(model, estimator), images)
    assert all(module.training is training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, value in model.state_dict().items():
        # In training mode batch norm goes on counting, as it does without an oracle.
        if not training or isinstance(dict(model.named_parameters()).get(name), nn.Parameter):
            assert torch.equal(value, before[name]), name


def test_the_oracle_is_captured_before_backward(model: SpikingClassifier, images: Tensor) -> None:
    """A second oracle's forward between forward and backward must not change the gradient."""
    model.eval()
    rga = GradientEstimator(method="rga")
    alone = input_gradient(oracle(model, rga), images)

    def interleaved(x: Tensor) -> Tensor:
        logits = oracle(model, rga)(x)
        oracle(model, GradientEstimator(surrogate="sigmoid"))(x.detach())
        return logits

    assert torch.equal(input_gradient(interleaved, images), alone)
