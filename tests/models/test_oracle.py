"""An oracle differentiates a network another way and leaves no trace on it."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from models import (
    SURROGATES,
    GradientEstimator,
    InputSpec,
    ModelConfig,
    NeuronConfig,
    SpikingClassifier,
    build_model,
    oracle,
)
from models.backward_rules import Adaptation
from models.config import EstimatorMethod
from models.estimators import TIMELESS
from models.neurons import SpikingNeurons

ESTIMATORS = [
    GradientEstimator(),
    GradientEstimator(width=2.0),
    GradientEstimator(surrogate="sigmoid"),
    GradientEstimator(surrogate="arctangent"),
    GradientEstimator(method="rga"),
    GradientEstimator(method="bptr"),
    GradientEstimator(surrogate="rectangular", width=2.0),
    GradientEstimator(surrogate="exponential"),
    GradientEstimator(surrogate="damped_exponential"),
    GradientEstimator(surrogate="straight_through"),
    GradientEstimator(method="hart"),
    GradientEstimator(method="hart", width=0.6),
    GradientEstimator(method="pdsg"),
    GradientEstimator(method="assg"),
    GradientEstimator(method="assg", width=0.35),
    GradientEstimator(method="relu"),
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


def in_force(model: nn.Module) -> list[tuple[GradientEstimator, Adaptation | None]]:
    return [(m.estimator, m.memory) for m in model.modules() if isinstance(m, SpikingNeurons)]


def test_every_way_is_among_those_tried() -> None:
    methods = {estimator.method for estimator in ESTIMATORS}
    # `own` is the network itself, without an oracle.
    assert methods == set(get_args(EstimatorMethod)) - {"own"}
    surrogates = {e.surrogate for e in ESTIMATORS if e.method == "stbp"}
    assert surrogates == set(SURROGATES)


def input_gradient(classifier: Any, images: Tensor) -> Tensor:
    images = images.detach().requires_grad_()
    # Not the plain sum: its gradient could vanish by symmetry.
    logits = classifier(images)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum() - 2 * logits[:, 1].sum(), images)
    return gradient


def test_estimators_are_put_back(model: SpikingClassifier, images: Tensor) -> None:
    before = in_force(model)
    assert [estimator.label for estimator, _ in before] == ["triangle-0.7"] * 3
    assert [memory for _, memory in before] == [None] * 3
    for estimator in ESTIMATORS:
        seen: list[GradientEstimator] = []
        layer = next(m for m in model.modules() if isinstance(m, SpikingNeurons))
        handle = layer.register_forward_hook(lambda m, _, __, s=seen: s.append(m.estimator))
        oracle(model, estimator)(images)
        handle.remove()
        # For `relu` the network is asked a second time, as itself.
        own = [before[0][0]] if estimator.method == "relu" else []
        assert seen == [estimator, *own]
        assert in_force(model) == before


@pytest.mark.parametrize("method", ["rga", "assg", "relu"])
def test_estimators_are_put_back_after_a_failure(model: SpikingClassifier, method: Any) -> None:
    before = in_force(model)
    target = oracle(model, GradientEstimator(method=method))
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


def test_memories_are_the_oracles_and_grow_with_every_answer(
    model: SpikingClassifier, images: Tensor
) -> None:
    model.eval()
    adaptive = oracle(model, GradientEstimator(method="assg"))
    first, second = input_gradient(adaptive, images), input_gradient(adaptive, images)
    assert not torch.equal(first, second)
    assert all(memory is None for _, memory in in_force(model))
    # Another oracle of the same network, and this one made fresh, know nothing of it.
    for other in (oracle(model, GradientEstimator(method="assg")), adaptive.fresh()):
        assert torch.equal(input_gradient(other, images), first)


def test_without_learning_an_answer_leaves_no_trace(
    model: SpikingClassifier, images: Tensor
) -> None:
    model.eval()
    estimator = GradientEstimator(method="assg")
    plain, asked = oracle(model, estimator), oracle(model, estimator)
    plain(images)
    asked(images)
    for _ in range(3):
        asked(images.flip(3), learning=False)
    assert torch.equal(input_gradient(asked, images), input_gradient(plain, images))


@pytest.mark.parametrize("keep", [[2, 0], [True, False, True, False]])
def test_a_narrowed_oracle_keeps_what_it_knows_of_its_samples(
    model: SpikingClassifier, images: Tensor, keep: list[Any]
) -> None:
    model.double().eval()
    images, chosen = images.double(), torch.tensor(keep)
    whole = oracle(model, GradientEstimator(method="assg"))
    whole(images)
    whole(images.flip(2))
    few = whole.narrowed(chosen)
    expected = input_gradient(whole, images)[chosen]
    torch.testing.assert_close(
        input_gradient(few, images[chosen]), expected, rtol=1e-12, atol=1e-15
    )
    fresh = input_gradient(whole.fresh(), images)[chosen]
    assert float((fresh - expected).abs().max()) > 1e-6


def test_relu_answers_as_the_network_and_points_as_its_analogue(
    model: SpikingClassifier, images: Tensor
) -> None:
    """By hand: batch norm, convolution and ReLU in place of the neurons, once, with no time."""
    model.double().eval()
    images = images.double()
    target = oracle(model, GradientEstimator(method="relu"))

    def analogue(x: Tensor) -> Tensor:
        for layer in [model.normalization, *model.features]:
            x = x.clamp_min(0) if isinstance(layer, SpikingNeurons) else layer(x)
        return model.head(x)

    assert torch.equal(target(images), model(images))
    assert float((analogue(images) - model(images)).detach().abs().max()) > 1e-3
    torch.testing.assert_close(
        input_gradient(target, images), input_gradient(analogue, images), rtol=1e-10, atol=1e-12
    )


@pytest.fixture
def by_all_steps(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The gradient of an estimator at every time step, as it is defined."""

    def gradient(model: nn.Module, estimator: GradientEstimator, images: Tensor) -> Tensor:
        with monkeypatch.context() as patch:
            patch.setattr("models.estimators._sees_one_image", lambda model: False)
            return input_gradient(oracle(model, estimator), images)

    return gradient


@pytest.mark.parametrize("leak", [1.0, 0.5])
@pytest.mark.parametrize("architecture", ["small", "vgg11", "wrn16_4"])
def test_one_time_step_has_the_gradient_of_all(
    architecture: Any, leak: float, by_all_steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.vgg.HIDDEN", 64)
    torch.manual_seed(0)
    network = build_model(
        ModelConfig(architecture=architecture, num_timesteps=4, neuron=NeuronConfig(leak=leak)),
        InputSpec(channels=3, height=16, width=16, num_classes=5, mean=(0.5,) * 3, std=(0.2,) * 3),
    )
    network.double()
    images = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
        if isinstance(layer, nn.Linear):
            # Without a bias the wide layers, which have no batch norm, would not fire.
            nn.init.constant_(layer.bias, 0.7)
    network(images)
    network.eval()
    own = network(images)
    for method in sorted(TIMELESS):
        estimator = GradientEstimator(method=method)  # type: ignore[arg-type]
        expected = by_all_steps(network, estimator, images)
        target = oracle(network, estimator)
        assert float(expected.abs().max()) > 0
        torch.testing.assert_close(
            input_gradient(target, images),
            expected,
            rtol=1e-9,
            atol=1e-11 * float(expected.abs().max()),
        )
        assert torch.equal(target(images.clone().requires_grad_()), own)
    for module in network.modules():
        assert "forward" not in vars(module)
        assert getattr(module, "num_timesteps", 4) == 4


@pytest.mark.parametrize("method", sorted(TIMELESS))
def test_where_batch_norm_mixes_time_steps_all_are_differentiated(
    model: SpikingClassifier, images: Tensor, method: Any, by_all_steps: Any
) -> None:
    estimator = GradientEstimator(method=method)
    model.eval()
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).train()
    expected = by_all_steps(model, estimator, images)
    assert torch.equal(input_gradient(oracle(model, estimator), images), expected)


def test_random_inputs_are_differentiated_at_all_steps(images: Tensor) -> None:
    torch.manual_seed(0)
    network = build_model(
        ModelConfig(architecture="small", num_timesteps=3, encoding="poisson"),
        InputSpec(channels=1, height=8, width=8, num_classes=10),
    ).eval()
    calls: list[Tensor] = []
    network.register_forward_hook(lambda _, __, logits: calls.append(logits))
    oracle(network, GradientEstimator(method="bptr"))(images.requires_grad_())
    assert len(calls) == 1


@pytest.mark.parametrize("method", sorted(TIMELESS))
def test_the_gradient_of_one_step_is_not_that_of_the_weights(
    model: SpikingClassifier, images: Tensor, method: Any
) -> None:
    logits = oracle(model.eval(), GradientEstimator(method=method))(images.requires_grad_())
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(logits.sum(), list(model.parameters()))
