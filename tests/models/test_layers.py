"""Our layers are PyTorch's: values, statistics and gradients, in each of their ways to compute."""

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import InputSpec, ModelConfig, build_model, compile_layers, layers
from models.layers import BatchNorm, Convolution, Linear
from models.neurons import SpikingNeurons
from models.products import Operand, with_gradients


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_same_function(training: bool, layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    theirs = nn.BatchNorm2d(5).double().train(training)
    for values in (theirs.running_mean, theirs.running_var, theirs.weight.data, theirs.bias.data):
        values.uniform_(0.5, 2.0, generator=generator)
    ours = BatchNorm(5).double().train(training)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(6, 5, 4, 3, generator=generator, dtype=torch.float64)
    images = images.to(memory_format=layout).requires_grad_()
    weights = torch.randn(images.shape, generator=generator, dtype=torch.float64)
    answers = []
    for layer in (ours, theirs):
        outputs = layer(images)
        assert outputs.stride() == images.stride()
        inputs = (images, layer.weight, layer.bias)
        answers.append([outputs, *torch.autograd.grad(outputs, inputs, weights)])
    torch.testing.assert_close(*answers, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_spikes_of_float32_are_the_same() -> None:
    """What neurons compare with their threshold may differ in its last digit alone."""
    generator = torch.Generator().manual_seed(0)
    theirs = nn.BatchNorm2d(8).eval()
    for values in (theirs.running_mean, theirs.running_var, theirs.weight.data, theirs.bias.data):
        values.uniform_(0.5, 2.0, generator=generator)
    ours = BatchNorm(8).eval()
    ours.load_state_dict(theirs.state_dict())
    currents = torch.randn(64, 8, 16, 16, generator=generator)
    fired = [layer(currents) >= 1.0 for layer in (ours, theirs)]
    assert float((fired[0] != fired[1]).float().mean()) < 1e-5


def answers(layer: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Outputs, and gradients of inputs and weights."""
    inputs = inputs.clone().requires_grad_()
    outputs = layer(inputs)
    generator = torch.Generator().manual_seed(3)
    grad = torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype)
    return [outputs, *torch.autograd.grad(outputs, [inputs, *layer.parameters()], grad)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    layer = Linear(70, 30, bias=bias).to(dtype)
    inputs = torch.rand(9, 70, dtype=dtype)
    plain = answers(layer, inputs)
    assert torch.equal(plain[0], nn.functional.linear(inputs, layer.weight, layer.bias))
    layer.compiled = True
    torch.testing.assert_close(answers(layer, inputs), plain)
    layer(inputs).relu_()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
@pytest.mark.parametrize(
    ("arguments", "side", "suits"),
    [
        (dict(kernel_size=3, padding=1), 8, True),
        (dict(kernel_size=3, padding=1, bias=False), 4, True),
        (dict(kernel_size=3, padding=1, stride=2), 8, False),
        (dict(kernel_size=3, padding=0), 8, False),
        (dict(kernel_size=3, padding=2, dilation=2), 8, False),
        (dict(kernel_size=3, padding=1, groups=2), 8, False),
        (dict(kernel_size=3, padding=1, padding_mode="circular"), 8, False),
        (dict(kernel_size=1), 8, False),
        (dict(kernel_size=3, padding=1), 6, False),
    ],
)
def test_convolutions_that_suit_are_computed_another_way(
    arguments: dict[str, Any], side: int, suits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "ENOUGH_CHANNELS", 6)
    taken = []

    def watched(*operands: Any) -> Tensor:
        taken.append(operands)
        return winograd_convolution(*operands)

    winograd_convolution = layers.winograd_convolution
    monkeypatch.setattr(layers, "winograd_convolution", watched)
    torch.manual_seed(0)
    layer = Convolution(6, 8, **arguments).double()
    inputs = torch.rand(3, 6, side, side, dtype=torch.float64)
    plain = answers(layer, inputs)
    assert not taken
    layer.compiled = True
    torch.testing.assert_close(answers(layer, inputs), plain)
    assert bool(taken) == suits
    monkeypatch.setattr(layers, "ENOUGH_CHANNELS", 7)
    answers(layer, inputs)
    assert len(taken) == suits


def test_all_layers_are_told() -> None:
    spec = InputSpec(channels=3, height=32, width=32, num_classes=4)
    model = build_model(ModelConfig(architecture="wrn16_4", num_timesteps=2), spec)
    ours = [m for m in model.modules() if isinstance(m, SpikingNeurons | Convolution | Linear)]
    assert {layer.compiled for layer in ours} == {False}
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    # One before the blocks, two in each of the six, and on the shortcut where widths differ.
    assert len(convolutions) == 1 + 2 * 6 + 3
    assert {type(layer) for layer in convolutions} == {Convolution}
    compile_layers(model)
    assert {layer.compiled for layer in ours} == {True}


def test_gradients_are_computed_where_asked_for() -> None:
    """Also where both are, and where an operand takes none."""
    first, second = (torch.tensor([value], requires_grad=True) for value in (2.0, 3.0))
    computed: list[str] = []

    def gradient(name: str) -> Any:
        def compute(grad: Tensor, other: Tensor) -> Tensor:
            computed.append(name)
            return grad * other

        return compute

    def product(first: Tensor, second: Tensor) -> Tensor:
        return with_gradients(
            (first * second).detach(),
            Operand(first, gradient("first"), [second]),
            Operand(second, gradient("second"), [first]),
        )

    assert torch.autograd.grad(product(first, second), first) == (second,)
    assert computed == ["first"]
    assert torch.autograd.grad(product(first, second), [first, second]) == (second, first)
    assert sorted(computed) == ["first", "first", "second"]
    assert torch.autograd.grad(product(first.detach(), second), second) == (first,)
    assert sorted(computed) == ["first", "first", "second", "second"]
    assert not product(first.detach(), second.detach()).requires_grad
    changed = product(first, second).mul_(10.0)
    assert torch.autograd.grad(changed, first) == (10.0 * second,)
