"""Compiled kernels are the closed form: same spikes, same gradients, same names."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import InputSpec, ModelConfig, NeuronConfig, build_model, compile_layers
from models.backward_rules import spike_trains
from models.neurons import SpikingNeurons

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU"),
]


def answers(current: Tensor, config: NeuronConfig, *, compiled: bool) -> list[Tensor]:
    """Spikes and the gradient of their sum weighted by random numbers."""
    current = current.detach().requires_grad_()
    spikes = spike_trains(
        current,
        config.estimator,
        leak=config.leak,
        threshold=config.threshold,
        compiled=compiled,
    )
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(current.shape, generator=generator, dtype=current.dtype)
    (gradient,) = torch.autograd.grad(spikes, current, weights)
    return [spikes.detach(), gradient]


@pytest.mark.parametrize(
    "config", [NeuronConfig(), NeuronConfig(leak=0.5, threshold=0.8, surrogate="sigmoid")]
)
def test_same_spikes_and_gradients_in_any_shape_and_layout(config: NeuronConfig) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(12, 6, 5, 7, generator=generator, dtype=torch.float64) + 0.3
    last = images.to(memory_format=torch.channels_last)
    features = torch.randn(4, 3, 11, generator=generator, dtype=torch.float64) + 0.3
    for current in (images.unflatten(0, (4, 3)), last.unflatten(0, (4, 3)), features):
        # A grid of eighths: sums hit the threshold exactly.
        current = torch.round(8 * current) / 8
        ours, expected = (answers(current, config, compiled=c) for c in (True, False))
        assert 0.05 < float(expected[0].mean()) < 0.9
        assert torch.equal(ours[0], expected[0])
        torch.testing.assert_close(ours[1], expected[1], rtol=1e-12, atol=1e-12)
        assert [t.stride() for t in ours] == [t.stride() for t in expected]


def test_a_network_trains_alike_and_keeps_its_names() -> None:
    torch.manual_seed(0)
    model: Any = build_model(
        ModelConfig(architecture="wrn16_4", num_timesteps=3),
        InputSpec(channels=1, height=8, width=8, num_classes=4),
    ).double()
    twin = copy.deepcopy(model)
    compile_layers(twin)
    assert all(m.compiled for m in twin.modules() if isinstance(m, SpikingNeurons))
    images, labels = torch.rand(4, 1, 8, 8, dtype=torch.float64), torch.tensor([0, 3, 1, 2])
    gradients = []
    for network in (model, twin):
        loss = nn.functional.cross_entropy(network(images), labels)
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    assert list(model.state_dict()) == list(twin.state_dict())
    for expected, ours in zip(*gradients, strict=True):
        torch.testing.assert_close(
            ours, expected, rtol=1e-9, atol=1e-11 * float(expected.abs().max())
        )


KERNEL = """
import torch
from models.winograd import _on_both_sides, _output_gradients, _transformed, OUTPUTS

planes = torch.randn(16, 1000)
ours = _transformed(_output_gradients, planes)
torch.testing.assert_close(ours, _on_both_sides(tuple(zip(*OUTPUTS)), list(planes)))
"""


def test_what_was_compiled_for_wider_vectors_is_not_taken(tmp_path: Path) -> None:
    """A disk that a machine with AVX-512 shares with one without."""
    for capability in ("", "avx2"):
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
        if capability:
            environment["ATEN_CPU_CAPABILITY"] = capability
        done = subprocess.run(
            [sys.executable, "-c", KERNEL], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
