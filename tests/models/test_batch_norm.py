"""Batch norm is PyTorch's in both modes, its statistics and gradients included."""

import pytest
import torch
from torch import nn

from models.batch_norm import BatchNorm


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
