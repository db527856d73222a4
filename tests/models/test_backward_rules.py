"""The gradient rules of later attacks: by hand, and against plain loops that autograd handles."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from models import GradientEstimator
from models.backward_rules import Adaptation, spike_trains

HART = GradientEstimator(method="hart")
PDSG = GradientEstimator(method="pdsg")
ASSG = GradientEstimator(method="assg")
RELU = GradientEstimator(method="relu")


def differentiated(
    function: Callable[[Tensor], Tensor], current: Tensor, cotangent: Tensor
) -> tuple[Tensor, Tensor]:
    """Spikes, and the gradient of sum(spikes * cotangent)."""
    current = current.detach().requires_grad_()
    spikes = function(current)
    (gradient,) = torch.autograd.grad(spikes, current, cotangent)
    return spikes.detach(), gradient


def series(*values: float) -> Tensor:
    """One neuron's numbers over time, shape (T, 1)."""
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


class _Spike(torch.autograd.Function):
    """A step whose derivative is given."""

    @staticmethod
    def forward(ctx: Any, excess: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return (excess >= 0).to(excess.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.saved_tensors[0], None


def loop(
    current: Tensor,
    slope: Callable[[list[Tensor]], Tensor],
    leak: float,
    threshold: float,
    *,
    chain: bool = True,
) -> Tensor:
    """Spikes step by step; `slope` maps the charged voltages so far to the last one's derivative.

    Without `chain` no gradient flows from one step to the next.
    """
    voltage, charged, spikes = torch.zeros_like(current[0]), list[Tensor](), list[Tensor]()
    for step in current:
        charge = leak * (voltage if chain else voltage.detach()) + step
        charged.append(charge.detach())
        spikes.append(_Spike.apply(charge - threshold, slope(charged)))
        voltage = charge * (1.0 - spikes[-1])
    return torch.stack(spikes)


def drawn(*shape: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """A current that makes some neurons fire, and a cotangent."""
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(shape, generator=generator, dtype=torch.float64) + 0.5
    return current, torch.randn(shape, generator=generator, dtype=torch.float64)


LEAKS_AND_THRESHOLDS = pytest.mark.parametrize(
    ("leak", "threshold"), list(itertools.product((1.0, 0.5), (1.0, 0.4)))
)


def agree(
    rule: Callable[[Tensor], Tensor], definition: Callable[[Tensor], Tensor], *shape: int
) -> None:
    current, cotangent = drawn(*shape)
    spikes, gradient = differentiated(rule, current, cotangent)
    expected_spikes, expected = differentiated(definition, current, cotangent)
    assert 0.05 < float(spikes.mean()) < 0.95
    assert torch.equal(spikes, expected_spikes)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)


def test_hart_by_hand() -> None:
    """Voltages 0.6, 1.1 (fires), 0.3: slopes of the triangle 0.6, 0.9, 0.3.

    Times the cotangent 1, 2, -4 that is 0.6, 1.8, -1.2: every step gets the mean, 0.4.
    """
    spikes, gradient = differentiated(
        lambda x: spike_trains(x, HART), series(0.6, 0.5, 0.3), series(1, 2, -4)
    )
    assert spikes.flatten().tolist() == [0, 1, 0]
    assert gradient.flatten().tolist() == pytest.approx([0.4, 0.4, 0.4])


def test_hart_narrower_by_hand() -> None:
    """Width 0.5: (0.5 - 0.4) / 0.25, (0.5 - 0.1) / 0.25 and none at 0.3; leak 0.5 before."""
    estimator = GradientEstimator(method="hart", width=0.5)
    _, gradient = differentiated(
        # 0.6, 0.5 * 0.6 + 0.8 = 1.1, 0.3.
        lambda x: spike_trains(x, estimator, leak=0.5),
        series(0.6, 0.8, 0.3),
        series(1, 1, 1),
    )
    assert gradient.flatten().tolist() == pytest.approx([(0.4 + 1.6) / 3] * 3)


@LEAKS_AND_THRESHOLDS
@pytest.mark.parametrize("width", [0.4, 1.0, 2.5])
def test_hart_is_the_loop_without_a_chain_averaged_over_time(
    leak: float, threshold: float, width: float
) -> None:
    estimator = GradientEstimator(method="hart", width=width)

    def slope(charged: list[Tensor]) -> Tensor:
        return (width - (charged[-1] - threshold).abs()).clamp_min(0) / width**2

    current, cotangent = drawn(4, 3, 7)
    spikes, gradient = differentiated(
        lambda x: spike_trains(x, estimator, leak=leak, threshold=threshold), current, cotangent
    )
    expected_spikes, expected = differentiated(
        lambda x: loop(x, slope, leak, threshold, chain=False), current, cotangent
    )
    assert torch.equal(spikes, expected_spikes)
    torch.testing.assert_close(gradient, expected.mean(0).expand_as(current))


def gaussian(excess: float, sigma: float) -> float:
    exponent = -((excess - 0.5 * sigma) ** 2) / (2 * sigma**2)
    return math.exp(exponent) / (math.sqrt(2 * math.pi) * sigma)


def test_pdsg_by_hand() -> None:
    """Two features, two steps. Voltages 0.6 and 1.0 (fires), then 1.1 (fires) and 0.4.

    Over the features sigma_1 = 0.4 / sqrt(2); over both steps the four have the mean 0.775 and
    the squared deviations 0.030625, 0.050625, 0.105625 and 0.140625, over three.
    """
    current = torch.tensor([[[0.6, 1.0]], [[0.5, 0.4]]], dtype=torch.float64)
    spikes, gradient = differentiated(
        lambda x: spike_trains(x, PDSG), current, torch.ones_like(current)
    )
    assert spikes.tolist() == [[[0, 1]], [[1, 0]]]
    first = math.sqrt(0.4**2 / 2)
    second = math.sqrt((0.030625 + 0.050625 + 0.105625 + 0.140625) / 3)
    last = [gaussian(0.1, second), gaussian(-0.6, second)]
    # gs = g - gm * u and gu = gs * h + gm * (1 - s), with gm the last step's gradient.
    earlier = [
        (1 - last[0] * 0.6) * gaussian(-0.4, first) + last[0],
        (1 - last[1] * 1.0) * gaussian(0.0, first),
    ]
    assert gradient.flatten().tolist() == pytest.approx([*earlier, *last])


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1)])
def test_pdsg_of_a_single_value_takes_one_for_its_spread(shape: tuple[int, ...]) -> None:
    current = torch.full((1, 1, *shape), 0.7, dtype=torch.float64)
    _, gradient = differentiated(lambda x: spike_trains(x, PDSG), current, torch.ones_like(current))
    assert gradient.item() == pytest.approx(gaussian(-0.3, 1.0))


@pytest.mark.parametrize("shape", [(4,), (2, 2, 2)])
def test_pdsg_without_a_spread_takes_one(shape: tuple[int, ...]) -> None:
    """The second sample's voltages differ, and do not lend the first a spread."""
    current = torch.full((1, 2, *shape), 0.7, dtype=torch.float64)
    current[:, 1] += torch.arange(current[0, 1].numel()).view(shape) * 0.1
    _, gradient = differentiated(lambda x: spike_trains(x, PDSG), current, torch.ones_like(current))
    torch.testing.assert_close(gradient[:, 0], torch.full_like(gradient[:, 0], gaussian(-0.3, 1)))
    assert float((gradient[:, 1] - gaussian(-0.3, 1)).abs().min()) > 1e-3


@pytest.mark.parametrize("shape", [(2, 37), (2, 3, 7, 5)])
def test_pdsg_of_equal_voltages_takes_one_in_float32_too(shape: tuple[int, ...]) -> None:
    """Whose sum over 35 or 37 of them is rounded."""
    current = torch.full((1, *shape), 0.1)
    _, gradient = differentiated(lambda x: spike_trains(x, PDSG), current, torch.ones_like(current))
    torch.testing.assert_close(gradient, torch.full_like(gradient, gaussian(-0.9, 1.0)))


def test_pdsg_of_single_neurons_keeps_samples_apart() -> None:
    both = torch.tensor([[0.7, 0.2], [0.1, 0.4]], dtype=torch.float64)

    def slopes(current: Tensor) -> Tensor:
        weights = torch.ones_like(current)
        return differentiated(lambda x: spike_trains(x, PDSG), current, weights)[1]

    alone = torch.cat([slopes(both[:, :1]), slopes(both[:, 1:])], dim=1)
    torch.testing.assert_close(slopes(both), alone)


def pooled_slope(threshold: float) -> Callable[[list[Tensor]], Tensor]:
    """As the authors have it: the batch is pooled, too, and each channel of images is apart."""

    def slope(charged: list[Tensor]) -> Tensor:
        past = torch.stack(charged)
        # (t, B, C, H, W) over all but C, and (t, B, F) over all.
        dims = (0, 1, 3, 4) if past.dim() == 5 else (0, 1, 2)
        sigma = torch.std(past, dim=dims, keepdim=True)[0]
        sigma = torch.where(sigma == 0, torch.ones_like(sigma), sigma)
        excess = charged[-1] - threshold
        shifted = (excess - 0.5 * sigma) ** 2
        return torch.exp(-shifted / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)

    return slope


@LEAKS_AND_THRESHOLDS
@pytest.mark.parametrize("shape", [(4, 1, 9), (4, 1, 3, 4, 5)])
def test_pdsg_on_a_batch_of_one_is_the_authors(
    leak: float, threshold: float, shape: tuple[int, ...]
) -> None:
    agree(
        lambda x: spike_trains(x, PDSG, leak=leak, threshold=threshold),
        lambda x: loop(x, pooled_slope(threshold), leak, threshold),
        *shape,
    )


@pytest.mark.parametrize("shape", [(3, 4, 9), (3, 4, 3, 4, 5)])
def test_pdsg_of_a_batch_is_that_of_each_sample(shape: tuple[int, ...]) -> None:
    current, cotangent = drawn(*shape)
    # Samples that spread unequally: pooled they would all change.
    current = current * torch.tensor([0.5, 1.0, 2.0, 4.0]).view(-1, *[1] * (len(shape) - 2))
    _, whole = differentiated(lambda x: spike_trains(x, PDSG), current, cotangent)
    for sample in range(4):
        _, alone = differentiated(
            lambda x: spike_trains(x, PDSG),
            current[:, sample : sample + 1],
            cotangent[:, sample : sample + 1],
        )
        torch.testing.assert_close(whole[:, sample : sample + 1], alone, rtol=1e-12, atol=1e-14)


HALF_AREA = 0.425
SCALE = 2 * math.tan(math.pi * HALF_AREA) / math.pi


def arctangent(alpha: float, excess: float) -> float:
    return alpha / 2 / (1 + (math.pi / 2 * alpha * excess) ** 2)


def test_assg_by_hand_over_two_answers() -> None:
    """Voltages 0.6 and 1.1 (fires): |x| is 0.4 and 0.1. The neuron is asked the same twice.

    M: 0.9 + 0.04 = 0.94, then 0.846 + 0.04 = 0.886; and 0.91, then 0.829.
    D: 0.1 * 0.54 = 0.054, then 0.0486 + 0.1 * 0.486 = 0.0972; and 0.081, then 0.0729 + 0.0729.
    """
    assert pytest.approx(2.65, abs=0.01) == SCALE
    memory = Adaptation()
    current, cotangent = series(0.6, 0.5), series(1, 1)
    for distance, deviation in (
        ([0.94, 0.91], [0.054, 0.081]),
        ([0.886, 0.829], [0.0972, 0.1458]),
    ):
        spikes, gradient = differentiated(
            lambda x: spike_trains(x, ASSG, memory=memory), current, cotangent
        )
        assert spikes.flatten().tolist() == [0, 1]
        assert memory.distance is not None
        assert memory.deviation is not None
        assert memory.distance.flatten().tolist() == pytest.approx(distance)
        assert memory.deviation.flatten().tolist() == pytest.approx(deviation)
        slopes = [
            arctangent(SCALE / (m + 1.5 * d + 1e-4), x)
            for m, d, x in zip(distance, deviation, (-0.4, 0.1), strict=True)
        ]
        earlier = (1 - slopes[1] * 0.6) * slopes[0] + slopes[1]
        assert gradient.flatten().tolist() == pytest.approx([earlier, slopes[1]])


@pytest.mark.parametrize("width", [0.35, HALF_AREA, 0.49])
def test_assg_keeps_its_share_of_the_area_within_the_spread(width: float) -> None:
    """What `width` means: of the slope's unit area so much lies on each side up to M + 1.5 D."""
    excess = torch.linspace(0, 0.7, 10_001, dtype=torch.float64)
    current = (1.0 + excess).view(1, 1, -1)
    known = torch.full_like(current, 0.4), torch.full_like(current, 0.2)
    estimator = GradientEstimator(method="assg", width=width)
    _, slopes = differentiated(
        lambda x: spike_trains(x, estimator, memory=Adaptation(*known, learning=False)),
        current,
        torch.ones_like(current),
    )
    # Beside the spread of 0.7 there is a guard of 1e-4.
    assert torch.trapezoid(slopes.flatten(), excess).item() == pytest.approx(width, abs=1e-4)


@LEAKS_AND_THRESHOLDS
@pytest.mark.parametrize("width", [0.35, 0.425])
def test_assg_is_its_loop_over_three_answers(leak: float, threshold: float, width: float) -> None:
    estimator, memory = GradientEstimator(method="assg", width=width), Adaptation()
    shape = (4, 2, 5)
    distance = torch.ones(shape, dtype=torch.float64)
    deviation = torch.zeros(shape, dtype=torch.float64)

    def slope(charged: list[Tensor]) -> Tensor:
        step, excess = len(charged) - 1, charged[-1] - threshold
        distance[step] = 0.9 * distance[step] + 0.1 * excess.abs()
        off = (excess.abs() - distance[step]).abs()
        deviation[step] = 0.9 * deviation[step] + 0.1 * off
        scale = 2 * math.tan(math.pi * width) / math.pi
        alpha = scale / (distance[step] + 1.5 * deviation[step] + 1e-4)
        return alpha / 2 / (1 + (math.pi / 2 * alpha * excess) ** 2)

    for seed in (1, 2, 3):
        current, cotangent = drawn(*shape, seed=seed)
        spikes, gradient = differentiated(
            lambda x: spike_trains(x, estimator, leak=leak, threshold=threshold, memory=memory),
            current,
            cotangent,
        )
        expected_spikes, expected = differentiated(
            lambda x: loop(x, slope, leak, threshold), current, cotangent
        )
        assert torch.equal(spikes, expected_spikes)
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)


def test_assg_does_not_learn_where_it_must_not() -> None:
    current, cotangent = drawn(3, 2, 5)
    memory = Adaptation()
    spike_trains(current, ASSG, memory=memory)
    before = memory.distance, memory.deviation
    memory.learning = False
    other, _ = drawn(3, 2, 5, seed=9)
    _, without = differentiated(lambda x: spike_trains(x, ASSG, memory=memory), other, cotangent)
    assert memory.distance is before[0]
    assert memory.deviation is before[1]
    # The slopes are those of what is known, not of a memory that has just begun.
    _, begun = differentiated(lambda x: spike_trains(x, ASSG), other, cotangent)
    assert not torch.allclose(without, begun)
    memory.learning = True
    spike_trains(other, ASSG, memory=memory)
    assert not torch.equal(memory.distance, before[0])  # type: ignore[arg-type]


def test_assg_without_a_memory_forgets_at_once() -> None:
    current, cotangent = drawn(3, 2, 5)
    results = [
        differentiated(lambda x: spike_trains(x, ASSG), current, cotangent)[1] for _ in range(2)
    ]
    assert torch.equal(*results)


@pytest.mark.parametrize("keep", [[2, 0], [True, False, True]])
def test_a_narrowed_memory_is_the_memory_of_its_samples(keep: list[Any]) -> None:
    memory, chosen = Adaptation(), torch.tensor(keep)
    first, second = drawn(3, 3, 5)[0], drawn(3, 3, 5, seed=2)[0]
    spike_trains(first, ASSG, memory=memory)
    few = memory.narrowed(chosen)
    spike_trains(second, ASSG, memory=memory)
    spike_trains(second[:, chosen], ASSG, memory=few)
    for whole, part in (
        (memory.distance, few.distance),
        (memory.deviation, few.deviation),
    ):
        assert whole is not None
        assert part is not None
        torch.testing.assert_close(part, whole[:, chosen], rtol=0, atol=0)
    assert Adaptation().narrowed(chosen).distance is None


def test_relu_by_hand() -> None:
    """Each step for itself, in units of the threshold: no voltage, no spikes."""
    outputs, gradient = differentiated(
        lambda x: spike_trains(x, RELU, leak=0.5, threshold=0.5),
        series(0.6, -0.2, 1.5),
        series(1, 2, 3),
    )
    assert outputs.flatten().tolist() == pytest.approx([1.2, 0.0, 3.0])
    assert gradient.flatten().tolist() == pytest.approx([2.0, 0.0, 6.0])


@pytest.mark.parametrize("method", ["hart", "pdsg", "assg", "relu"])
def test_the_input_is_left_alone(method: Any) -> None:
    current, cotangent = drawn(3, 2, 5)
    before = current.clone(), cotangent.clone()
    estimator = GradientEstimator(method=method)
    differentiated(lambda x: spike_trains(x, estimator), current, cotangent)
    assert torch.equal(current, before[0])
    assert torch.equal(cotangent, before[1])


@pytest.mark.parametrize("method", ["hart", "pdsg", "assg"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spikes_are_the_neurons_own(method: Any, dtype: torch.dtype) -> None:
    current = drawn(6, 3, 20)[0].to(dtype)
    spikes = spike_trains(current, GradientEstimator(method=method))
    assert torch.equal(spikes, spike_trains(current, GradientEstimator()))
    assert spikes.dtype == dtype


@pytest.mark.parametrize("method", ["hart", "pdsg", "assg", "relu"])
def test_memory_layout_changes_no_gradient(method: Any) -> None:
    current, _ = drawn(4, 2, 3, 5, 6)
    estimator = GradientEstimator(method=method)
    cotangent = torch.ones((), dtype=torch.float64).expand(current.shape)
    plain = differentiated(lambda x: spike_trains(x, estimator), current, cotangent)
    for given in (
        current.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (4, 2)),
        current.permute(1, 2, 3, 4, 0).contiguous().permute(4, 0, 1, 2, 3),
    ):
        spikes, gradient = differentiated(lambda x: spike_trains(x, estimator), given, cotangent)
        assert torch.equal(spikes, plain[0])
        torch.testing.assert_close(gradient, plain[1], rtol=1e-12, atol=1e-14)
