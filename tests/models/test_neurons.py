"""Neurons: by hand, against their definition, and against the released code's numbers."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import SURROGATES, GradientEstimator, NeuronConfig
from models.backward_rules import spike_trains
from models.dynamics import lif_step
from models.neurons import SpikingNeurons

FILE = Path(__file__).parents[1] / "golden" / "neuron.npz"
CASES = sorted(key.removeprefix("spikes_") for key in np.load(FILE).files if "spikes_" in key)


def parsed(case: str) -> tuple[GradientEstimator, float]:
    """Estimator and leak of a golden key such as `triangle_width0.5_leak0.9`."""
    if case.startswith("rga"):
        return GradientEstimator(method="rga"), float(case.removeprefix("rga_leak"))
    match = re.fullmatch(r"(\w+)_width([\d.]+)_leak([\d.]+)", case)
    assert match, case
    surrogate: Any = match[1]
    return GradientEstimator(surrogate=surrogate, width=float(match[2])), float(match[3])


def differentiated(
    function: Callable[[Tensor], Tensor], current: Tensor, cotangent: Tensor
) -> tuple[Tensor, Tensor]:
    """Spikes, and the gradient of sum(spikes * cotangent)."""
    current = current.detach().requires_grad_()
    spikes = function(current)
    (gradient,) = torch.autograd.grad(spikes, current, cotangent)
    return spikes.detach(), gradient


def by_definition(
    current: Tensor, estimator: GradientEstimator, leak: float, threshold: float
) -> Tensor:
    """Spikes of the plain loop over `lif_step`, differentiated by autograd."""
    voltage = torch.zeros_like(current[0])
    spikes = []
    for step in current:
        fired, voltage = lif_step(
            step,
            voltage,
            leak=leak,
            threshold=threshold,
            surrogate=SURROGATES[estimator.surrogate],
            gamma=estimator.gamma,
        )
        spikes.append(fired)
    return torch.stack(spikes)


def series(*values: float) -> Tensor:
    """One neuron's numbers over time, shape (T, 1)."""
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def test_the_golden_file_holds_all_cases() -> None:
    assert len(CASES) == 18


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_released_code(
    case: str, golden: Callable[[str], dict[str, NDArray[Any]]]
) -> None:
    numbers = golden("neuron")
    estimator, leak = parsed(case)
    current, cotangent = (torch.from_numpy(numbers[key]) for key in ("current", "cotangent"))
    spikes, gradient = differentiated(
        lambda x: spike_trains(x, estimator, leak=leak), current, cotangent
    )
    expected = torch.from_numpy(numbers[f"grad_{case}"])
    assert torch.equal(spikes.to(torch.int8), torch.from_numpy(numbers[f"spikes_{case}"]))
    torch.testing.assert_close(
        gradient, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max())
    )


ESTIMATORS = [
    *(GradientEstimator(surrogate=name) for name in ("triangle", "sigmoid", "arctangent")),
    GradientEstimator(width=0.4),
    GradientEstimator(width=2.5),
]


@pytest.mark.parametrize(
    ("estimator", "leak", "threshold"),
    list(itertools.product(ESTIMATORS, (1.0, 0.9, 0.5, 0.0), (1.0, 0.3, 2.0))),
    ids=lambda value: value.label if isinstance(value, GradientEstimator) else str(value),
)
def test_closed_form_is_the_definition(
    estimator: GradientEstimator, leak: float, threshold: float
) -> None:
    generator = torch.Generator().manual_seed(1)
    shape = (7, 5, 11)
    current = torch.randn(shape, generator=generator, dtype=torch.float64) + 0.5
    # A grid of eighths: sums hit the threshold exactly.
    current[:, :3] = torch.round(8 * current[:, :3]) / 8
    cotangent = torch.randn(shape, generator=generator, dtype=torch.float64)
    spikes, gradient = differentiated(
        lambda x: spike_trains(x, estimator, leak=leak, threshold=threshold), current, cotangent
    )
    expected_spikes, expected = differentiated(
        lambda x: by_definition(x, estimator, leak, threshold), current, cotangent
    )
    assert 0.05 < float(spikes.mean()) < 0.9
    assert torch.equal(spikes, expected_spikes)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)


def layouts() -> dict[str, Tensor]:
    """The same kind of current, (T, B, C, H, W), in memory layouts a network produces."""
    generator = torch.Generator().manual_seed(2)
    plain = torch.randn(4, 2, 3, 5, 6, generator=generator, dtype=torch.float64) + 0.5
    last = plain.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (4, 2))
    return {
        "contiguous": plain,
        "channels last": last,
        "repeated": plain[:1].expand(4, -1, -1, -1, -1),
        "time inside": plain.permute(1, 2, 3, 4, 0).contiguous().permute(4, 0, 1, 2, 3),
        "every other": torch.cat([plain, plain], dim=3)[:, :, :, ::2],
    }


@pytest.mark.parametrize("layout", sorted(layouts()))
@pytest.mark.parametrize("estimator", ESTIMATORS[:1], ids=lambda value: value.label)
def test_memory_layout_changes_nothing(layout: str, estimator: GradientEstimator) -> None:
    current = layouts()[layout]
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(current.shape, generator=generator, dtype=torch.float64)
    # An expanded cotangent, as `sum().backward()` hands down, and one of another layout.
    for cotangent in (
        torch.ones((), dtype=torch.float64).expand(current.shape),
        weights.transpose(3, 4).contiguous().transpose(3, 4),
    ):
        spikes, gradient = differentiated(
            lambda x: spike_trains(x, estimator, leak=0.7), current, cotangent
        )
        expected_spikes, expected = differentiated(
            lambda x: by_definition(x, estimator, 0.7, 1.0), current.contiguous(), cotangent
        )
        assert torch.equal(spikes, expected_spikes)
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ["rga", "bptr"])
@pytest.mark.parametrize("layout", ["channels last", "repeated", "time inside"])
def test_memory_layout_changes_no_rate_gradient(method: Any, layout: str) -> None:
    current = layouts()[layout]
    cotangent = torch.ones((), dtype=torch.float64).expand(current.shape)
    estimator = GradientEstimator(method=method)
    results = [
        differentiated(lambda x: spike_trains(x, estimator), given, cotangent)
        for given in (current, current.clone(memory_format=torch.contiguous_format))
    ]
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("layout", sorted(layouts()))
@pytest.mark.parametrize("leak", [1.0, 0.7, 0.0])
def test_spikes_without_a_gradient_are_the_definitions(layout: str, leak: float) -> None:
    # A grid of eighths: sums hit the threshold exactly.
    current = torch.round(8 * layouts()[layout]) / 8
    before = current.clone()
    spikes = spike_trains(current, GradientEstimator(), leak=leak)
    assert torch.equal(spikes, by_definition(current, GradientEstimator(), leak, 1.0))
    assert torch.equal(current, before)
    assert 0.05 < float(spikes.mean()) < 0.9


def test_single_precision_fires_like_the_definition() -> None:
    current = torch.randn(8, 4, 50, generator=torch.Generator().manual_seed(4)) + 0.3
    estimator = GradientEstimator()
    assert torch.equal(
        spike_trains(current, estimator), by_definition(current, estimator, 1.0, 1.0)
    )


def test_integrate_and_fire_by_hand() -> None:
    # Voltages 0.6, 1.1, 0.3, 1.2; slopes of the triangle 0.6, 0.9, 0.3, 0.8.
    spikes, gradient = differentiated(
        lambda x: spike_trains(x, GradientEstimator()),
        series(0.6, 0.5, 0.3, 0.9),
        series(1, 1, 1, 1),
    )
    assert spikes.flatten().tolist() == [0, 1, 0, 1]
    assert gradient.flatten().tolist() == pytest.approx([0.5246592, -0.11772, 1.028, 0.8])


def test_leak_by_hand() -> None:
    # Voltages 0.8, 0.5 * 0.8 + 0.7 = 1.1, and 1.0, which fires: the threshold itself counts.
    spikes, gradient = differentiated(
        lambda x: spike_trains(x, GradientEstimator(), leak=0.5),
        series(0.8, 0.7, 1.0),
        series(1, 2, 3),
    )
    assert spikes.flatten().tolist() == [0, 1, 1]
    assert gradient.flatten().tolist() == pytest.approx([0.8567, 0.315, 3.0])


def test_bptr_passes_the_gradient_of_neurons_that_fired() -> None:
    current = torch.tensor([[0.6, 0.2], [0.5, 0.3], [0.1, 0.4]], dtype=torch.float64)
    cotangent = torch.tensor([[1.0, 2.0], [-3.0, 4.0], [5.0, 6.0]], dtype=torch.float64)
    spikes, gradient = differentiated(
        lambda x: spike_trains(x, GradientEstimator(method="bptr")), current, cotangent
    )
    assert spikes.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert gradient.tolist() == [[1.0, 0.0], [-3.0, 0.0], [5.0, 0.0]]


@pytest.mark.parametrize(
    ("leak", "threshold", "mean", "slope"),
    [
        (1.0, 1.0, 0.25, 0.5),
        (1.0, 1.0, 2.0, 0.5),
        (1.0, 1.0, 0.0, 0.7),
        (1.0, 1.0, 2.25, 0.0),
        (1.0, 1.0, -0.25, 0.0),
        (0.5, 1.0, 0.75, 0.6),
        (0.5, 1.0, 0.5, 0.8),
        (0.5, 1.0, 0.25, 0.2),
        (0.9, 1.0, 0.05, 0.2),
        (0.9, 1.0, 1.0, 0.98 / 1.9),
        (1.0, 2.0, 3.0, 0.25),
        (1.0, 2.0, 5.0, 0.0),
    ],
)
def test_rga_slope_by_hand(leak: float, threshold: float, mean: float, slope: float) -> None:
    current = series(mean - 0.125, mean + 0.125)
    _, gradient = differentiated(
        lambda x: spike_trains(x, GradientEstimator(method="rga"), leak=leak, threshold=threshold),
        current,
        series(1, -2),
    )
    assert gradient.flatten().tolist() == pytest.approx([slope, -2 * slope])


def test_rga_alone_needs_more_than_the_threshold() -> None:
    at_threshold = series(1.0, 1.0, 0.5)
    assert spike_trains(at_threshold, GradientEstimator()).flatten().tolist() == [1, 1, 0]
    rga = GradientEstimator(method="rga")
    assert spike_trains(at_threshold, rga).flatten().tolist() == [0, 1, 0]
    bptr = GradientEstimator(method="bptr")
    assert spike_trains(at_threshold, bptr).flatten().tolist() == [1, 1, 0]


def test_the_input_is_left_alone() -> None:
    current = torch.randn(3, 4, dtype=torch.float64)
    before = current.clone()
    for method in ("stbp", "rga", "bptr"):
        estimator = GradientEstimator(method=method)  # type: ignore[arg-type]
        differentiated(lambda x, e=estimator: spike_trains(x, e), current, torch.ones_like(current))
    assert torch.equal(current, before)


def test_layer_unfolds_time_outermost() -> None:
    layer = SpikingNeurons(NeuronConfig(leak=0.5, threshold=0.8), num_timesteps=3)
    current = torch.rand(3, 2, 4, 5, 5, dtype=torch.float64)
    folded = layer(current.flatten(0, 1))
    expected = by_definition(current, GradientEstimator(), 0.5, 0.8)
    assert torch.equal(folded, expected.flatten(0, 1))
    assert not list(layer.parameters())
