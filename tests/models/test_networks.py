"""Configs refuse what they cannot mean; networks have the sizes of the paper."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from models import (
    ARCHITECTURES,
    GradientEstimator,
    InputSpec,
    ModelConfig,
    NeuronConfig,
    SpikingClassifier,
    build_model,
)
from models.build import SMALLEST_SIDE
from models.config import FieldError
from models.encoding import direct
from models.wide_resnet import ConvexCombination

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("kind", "values", "field"),
    [
        *((GradientEstimator, {"width": w}, "width") for w in (0.0, -1.0, INFINITY, NAN)),
        *(
            (GradientEstimator, {"method": method, "width": 1.0}, "width")
            for method in ("rga", "bptr", "pdsg", "relu")
        ),
        (GradientEstimator, {"surrogate": "straight_through", "width": 1.0}, "width"),
        (GradientEstimator, {"method": "assg", "width": 0.5}, "width"),
        (GradientEstimator, {"method": "bptr", "surrogate": "sigmoid"}, "surrogate"),
        *((NeuronConfig, {"leak": leak}, "leak") for leak in (-0.1, 1.1, NAN)),
        *((NeuronConfig, {"threshold": t}, "threshold") for t in (0.0, -1.0, INFINITY, NAN)),
        *((NeuronConfig, {"width": w}, "width") for w in (0.0, -1.0, INFINITY, NAN)),
        *(
            (ModelConfig, {"architecture": "small", "num_timesteps": t}, "num_timesteps")
            for t in (0, -1, 1001, True)
        ),
        (ModelConfig, {"architecture": "small", "channels": (4, 0, 4)}, "channels"),
        (ModelConfig, {"architecture": "vgg11", "channels": (4, 4, 4)}, "channels"),
    ],
)
def test_value_out_of_range(kind: Any, values: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldError) as caught:
        kind(**values)
    assert caught.value.field == field
    assert str(caught.value)


def test_configs_are_frozen_and_know_their_gamma() -> None:
    estimator = GradientEstimator(surrogate="sigmoid")
    with pytest.raises(dataclasses.FrozenInstanceError):
        estimator.width = 2.0  # type: ignore[misc]
    assert estimator.gamma == 4.0
    assert GradientEstimator(surrogate="arctangent").gamma == 2.0
    assert GradientEstimator(width=0.5).gamma == 0.5


def test_labels_speak() -> None:
    labels = [
        GradientEstimator().label,
        GradientEstimator(width=1.0).label,
        GradientEstimator(width=0.5).label,
        GradientEstimator(surrogate="sigmoid", width=2.0).label,
        GradientEstimator(method="rga").label,
    ]
    assert labels == ["triangle", "triangle", "triangle-0.5", "sigmoid-2", "rga"]


@pytest.mark.parametrize("side", [4, 8, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_takes_images_of_any_size(side: int, channels: int) -> None:
    spec = InputSpec(channels=channels, height=side, width=side, num_classes=7)
    model = build_model(
        ModelConfig(architecture="small", num_timesteps=2, channels=(4, 6, 8)), spec
    )
    images = torch.rand(2, channels, side, side)
    assert model(images).shape == (2, 7)
    assert model.head.in_features == 8 * (side // 4) ** 2


def test_every_architecture_names_its_smallest_image() -> None:
    assert set(SMALLEST_SIDE) == set(ARCHITECTURES)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_too_small_images_are_refused(architecture: Any) -> None:
    smallest = SMALLEST_SIDE[architecture]
    spec = InputSpec(channels=1, height=smallest - 1, width=32, num_classes=2)
    with pytest.raises(FieldError, match=f"{smallest}x{smallest}") as caught:
        build_model(ModelConfig(architecture=architecture, num_timesteps=1), spec)
    assert caught.value.field == "architecture"


def shapes_only(architecture: Any, spec: InputSpec) -> SpikingClassifier:
    """The network without memory for its weights."""
    config = ModelConfig(architecture=architecture, num_timesteps=2)
    with torch.device("meta"):
        return ARCHITECTURES[architecture](config, spec)


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_vgg11_on_event_frames() -> None:
    spec = InputSpec(channels=2, height=48, width=48, num_classes=10, frames=True)
    model = shapes_only("vgg11", spec)
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [
        (18432, 4096),
        (4096, 4096),
        (4096, 10),
    ]
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert convolutions[0].in_channels == 2


def test_vgg11_has_the_papers_parameters() -> None:
    model = shapes_only("vgg11", InputSpec(channels=3, height=32, width=32, num_classes=10))
    widths = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    convolutions = sum(
        9 * before * after + 3 * after for before, after in zip(widths, widths[1:], strict=False)
    )
    linear = 8193 * 4096 + 4097 * 4096 + 4097 * 10
    assert num_parameters(model) == convolutions + linear == 61_377_034
    assert sum(isinstance(layer, nn.AvgPool2d) for layer in model.modules()) == 3


def test_wrn16_4_has_the_papers_parameters() -> None:
    model = shapes_only("wrn16_4", InputSpec(channels=3, height=32, width=32, num_classes=10))
    blocks = [layer for layer in model.modules() if isinstance(layer, ConvexCombination)]
    assert len(blocks) == 6
    # 2,748,890 is the count of the plain WRN-16-4; two mixing weights a block come on top.
    assert num_parameters(model) == 2_748_890 + 2 * 6
    strided = [c for c in model.modules() if isinstance(c, nn.Conv2d) and c.stride == (2, 2)]
    assert len(strided) == 4


def test_initial_weights() -> None:
    torch.manual_seed(0)
    model = build_model(
        ModelConfig(architecture="wrn16_4", num_timesteps=1),
        InputSpec(channels=3, height=8, width=8, num_classes=10),
    )
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 5000:
            fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
            assert float(layer.weight.detach().std()) == pytest.approx(
                (2 / fan_out) ** 0.5, rel=0.05
            )
        elif isinstance(layer, nn.BatchNorm2d):
            assert bool((layer.weight == 1).all())
            assert bool((layer.bias == 0).all())
        elif isinstance(layer, ConvexCombination):
            assert layer.weights.tolist() == [0.5, 0.5]
    assert bool((model.head.bias == 0).all())


def test_mean_over_time_is_the_mean_of_the_logits() -> None:
    torch.manual_seed(0)
    model = build_model(
        ModelConfig(architecture="small", num_timesteps=4),
        InputSpec(channels=1, height=8, width=8, num_classes=3),
    ).double()
    rates: list[torch.Tensor] = []
    model.head.register_forward_pre_hook(lambda _, arguments: rates.append(arguments[0]))
    spikes: list[torch.Tensor] = []
    model.features[-1].register_forward_hook(lambda _, __, out: spikes.append(out))
    logits = model(torch.rand(2, 1, 8, 8, dtype=torch.float64))
    over_time = (spikes[0] @ model.head.weight.T + model.head.bias).unflatten(0, (4, 2))
    torch.testing.assert_close(logits, over_time.mean(0))
    assert rates[0].shape == (2, model.head.in_features)


def at_all_steps(model: SpikingClassifier, images: torch.Tensor) -> torch.Tensor:
    """The definition: every layer sees the image at every time step, the head, too."""
    num_timesteps = model.config.num_timesteps
    spikes = model.features(direct(model.normalization(images), num_timesteps))
    logits: torch.Tensor = model.head(spikes).unflatten(0, (num_timesteps, -1)).mean(0)
    return logits


@pytest.mark.parametrize("momentum", [0.1, 1.0, None])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("architecture", ["small", "vgg11", "wrn16_4"])
def test_what_precedes_the_neurons_is_computed_once(
    architecture: Any, training: bool, momentum: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits, running statistics and all gradients are those of T copies of the image."""
    monkeypatch.setattr("models.vgg.HIDDEN", 32)
    torch.manual_seed(0)
    model = build_model(
        ModelConfig(architecture=architecture, num_timesteps=5),
        InputSpec(channels=3, height=8, width=8, num_classes=4, mean=(0.5,) * 3, std=(0.2,) * 3),
    ).double()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = momentum
        if isinstance(layer, nn.Linear):
            nn.init.constant_(layer.bias, 0.7)
    model.train(training)
    plain = copy.deepcopy(model)
    first = next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
    batches: list[int] = []
    first.register_forward_hook(lambda _, __, outputs: batches.append(len(outputs)))
    # Twice: the second time there are statistics to go on from.
    for images in torch.rand(2, 3, 3, 8, 8, dtype=torch.float64):
        results = []
        for network, function in ((model, model), (plain, lambda x: at_all_steps(plain, x))):
            asked = images.clone().requires_grad_()
            logits = function(asked)
            loss = nn.functional.cross_entropy(logits, torch.tensor([0, 3, 1]))
            gradients = torch.autograd.grad(loss, [asked, *network.parameters()])
            results.append([logits, *gradients, *network.buffers()])
        for ours, expected in zip(*results, strict=True):
            scale = float(expected.detach().abs().max())
            torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12 * max(scale, 1.0))
    assert batches == [3, 3]
