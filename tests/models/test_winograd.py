"""Winograd's convolution is the direct one: values, gradients, layouts; float32 stays close."""

import shutil

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from models import winograd
from models.winograd import winograd_convolution

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU"),
]


def drawn(
    shape: tuple[int, int, int, int], width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Spikes of a shape, kernels, biases, and a gradient of the outputs."""
    generator = torch.Generator().manual_seed(sum(shape))
    number, channels, height, side = shape
    spikes = (torch.rand(shape, generator=generator) > 0.7).to(dtype)
    weight = torch.randn(width, channels, 3, 3, generator=generator, dtype=dtype)
    weight /= 3 * channels**0.5
    bias = torch.randn(width, generator=generator, dtype=dtype)
    grad = torch.randn(number, width, height, side, generator=generator, dtype=dtype)
    return spikes, weight, bias, grad


@pytest.mark.parametrize("shape", [(5, 3, 8, 12), (2, 6, 4, 4), (1, 4, 16, 4), (7, 1, 4, 8)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("chunk", [winograd.CHUNK, 1])
def test_values_and_gradients_of_float64(
    shape: tuple[int, int, int, int],
    layout: torch.memory_format,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(winograd, "CHUNK", chunk)
    spikes, weight, bias, grad = drawn(shape, 5, torch.float64)
    operands = [spikes.to(memory_format=layout), weight.to(memory_format=layout), bias]
    answers = []
    for convolve in (winograd_convolution, lambda *them: conv2d(*them, padding=1)):
        asked = [operand.clone().requires_grad_() for operand in operands]
        outputs = convolve(*asked)
        answers.append([outputs, *torch.autograd.grad(outputs, asked, grad)])
    torch.testing.assert_close(*answers, rtol=1e-11, atol=1e-11)
    assert answers[0][0].is_contiguous(memory_format=torch.channels_last)
    answers[0][0].relu_()


def test_without_bias_and_without_gradient() -> None:
    spikes, weight, _, _ = drawn((3, 4, 8, 8), 6, torch.float64)
    expected = conv2d(spikes, weight, padding=1)
    torch.testing.assert_close(winograd_convolution(spikes, weight, None), expected)
    with torch.no_grad():
        outputs = winograd_convolution(spikes, weight.requires_grad_(), None)
    assert not outputs.requires_grad
    torch.testing.assert_close(outputs, expected)


def test_an_operand_is_differentiated_where_asked_alone() -> None:
    spikes, weight, bias, grad = drawn((3, 4, 8, 8), 6, torch.float64)
    asked = [operand.requires_grad_() for operand in (spikes, weight, bias)]
    together = torch.autograd.grad(winograd_convolution(*asked), asked, grad)
    for operand, expected in zip(asked, together, strict=True):
        (alone,) = torch.autograd.grad(winograd_convolution(*asked), operand, grad)
        torch.testing.assert_close(alone, expected)
    frozen = [spikes, weight.detach(), None]
    (alone,) = torch.autograd.grad(winograd_convolution(*frozen), spikes, grad)
    torch.testing.assert_close(alone, together[0])


def test_float32_is_within_a_few_roundings() -> None:
    """Sums of 1,152 products: an error some ten times that of the direct sum."""
    spikes, weight, bias, grad = drawn((16, 128, 16, 16), 128, torch.float32)
    asked = [operand.requires_grad_() for operand in (spikes, weight, bias)]
    outputs = winograd_convolution(*asked)
    answers = [outputs, *torch.autograd.grad(outputs, asked, grad)]
    exact = [operand.detach().double().requires_grad_() for operand in asked]
    expected = conv2d(*exact, padding=1)
    true = [expected, *torch.autograd.grad(expected, exact, grad.double())]
    for ours, theirs in zip(answers, true, strict=True):
        assert ours.dtype == torch.float32
        apart = (ours.double() - theirs).square().mean().sqrt() / theirs.square().mean().sqrt()
        assert float(apart.detach()) < 1e-5


def test_a_tensor_that_was_changed_in_between_is_noticed() -> None:
    spikes, weight, bias, grad = drawn((3, 4, 8, 8), 6, torch.float64)
    outputs = winograd_convolution(spikes.requires_grad_(), weight, bias)
    weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(outputs, spikes, grad)
