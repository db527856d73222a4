"""The exact judge: the same spikes and logits, bit for bit, however its sums are ordered."""

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models import InputSpec, ModelConfig, NeuronConfig, SpikingClassifier, build_model, vgg
from models.digits import LARGEST_DIGIT, LARGEST_SUM, TOLERANCE, InexactError, digits, prove
from models.dynamics import lif_step
from models.exact import ExactClassifier, exact
from models.exact_input import FRAME_STEPS, IMAGE_STEPS, GridInput, on_grid
from models.exact_layers import ExactNeurons, ExactSums
from models.surrogates import triangle
from pipeline.data import DigitsConfig, load_dataset

CIFAR10: dict[str, Any] = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}
TRAINED = ["small-trained", "vgg11-trained", "wrn16_4-trained"]
NETWORKS = ["small", "small-frames", "small-leaky", "vgg11", "wrn16_4", *TRAINED]


def images(count: int, side: int, seed: int = 0, channels: int = 3) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, side, side), generator=random).float() / 255


def network(architecture: Any, side: int = 8, *, frames: bool = False, **more: Any) -> Any:
    """A network whose neurons fire, with fresh weights."""
    config = ModelConfig(architecture=architecture, num_timesteps=3, **more)
    about = {"frames": True} if frames else CIFAR10
    spec = InputSpec(channels=2 if frames else 3, height=side, width=side, num_classes=10, **about)
    torch.manual_seed(7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vgg, "HIDDEN", 1024)  # a quarter, to save time
        model = build_model(config, spec)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0.0, 0.1)
                layer.running_var.uniform_(0.5, 1.5)
                layer.weight.normal_(1.0, 0.2)
                layer.bias.normal_(0.3, 0.1)
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0.02, 0.1)
                layer.bias.normal_(0.0, 0.1)
    return model.eval()


def trained(architecture: Any) -> SpikingClassifier:
    """A few steps on the digits."""
    data = load_dataset(DigitsConfig(dataset="digits"))
    spec = InputSpec(channels=1, height=8, width=8, num_classes=10, mean=(0.3,), std=(0.37,))
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vgg, "HIDDEN", 1024)
        model = build_model(ModelConfig(architecture=architecture, num_timesteps=3), spec)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # means over all steps, as there are few
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.02, 0.1)  # deep layers fire from the first step on
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    pixels = torch.from_numpy(data.train.images).float() / 255
    labels = torch.from_numpy(data.train.labels)
    for part in torch.arange(len(labels)).split(64)[: 15 if architecture == "small" else 4]:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(pixels[part]), labels[part]).backward()
        optimizer.step()
    return model.eval()


@functools.cache
def case(name: str) -> tuple[SpikingClassifier, ExactClassifier, Tensor]:
    """A network, its twin, and inputs."""
    if name == "small-frames":
        model = network("small", frames=True)
        random = torch.Generator().manual_seed(3)
        counts = torch.poisson(torch.full((64, 3, 2, 8, 8), 0.7), generator=random)
        # Attacked frames are real numbers.
        inputs = (counts + torch.rand(counts.shape, generator=random) / 32).clamp_min(0)
    elif name == "small-leaky":
        model = network("small", neuron=NeuronConfig(leak=0.9, threshold=0.7))
        inputs = images(64, 8)
    elif name in TRAINED:
        model = trained(name.removesuffix("-trained"))
        inputs = torch.from_numpy(load_dataset(DigitsConfig(dataset="digits")).test.images)
        inputs = inputs[:64].float() / 255
    else:
        model = network(name)
        inputs = images(64, 8)
    return model, exact(model), inputs


def answer(judge: nn.Module, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits, and the spikes of every layer as (T, B, ...)."""
    spikes: list[Tensor] = []

    def note(layer: Any, _: Any, fired: Tensor) -> None:
        spikes.append(fired.unflatten(0, (layer.num_timesteps, -1)).clone())

    neurons = [layer for layer in judge.modules() if isinstance(layer, ExactNeurons)]
    handles = [layer.register_forward_hook(note) for layer in neurons]
    try:
        return judge(inputs), spikes
    finally:
        for handle in handles:
            handle.remove()


def same(one: tuple[Tensor, list[Tensor]], other: tuple[Tensor, list[Tensor]]) -> None:
    assert torch.equal(one[0], other[0])
    assert len(one[1]) == len(other[1]) > 0
    assert all(torch.equal(a, b) for a, b in zip(one[1], other[1], strict=True))


def in_batches(judge: nn.Module, inputs: Tensor, size: int) -> tuple[Tensor, list[Tensor]]:
    parts = [answer(judge, part) for part in inputs.split(size)]
    layers = zip(*(spikes for _, spikes in parts), strict=True)
    return torch.cat([logits for logits, _ in parts]), [torch.cat(one, 1) for one in layers]


def frames_last(inputs: Tensor) -> Tensor:
    """The same numbers with the channels innermost in memory."""
    return inputs.movedim(-3, -1).contiguous().movedim(-1, -3)


def shuffled_sums(self: ExactSums, inputs: Tensor, values: Tensor) -> Tensor:
    """The sums, in float32, of products in random groups that are added in random order."""
    random = torch.Generator().manual_seed(inputs.shape[1])
    window = self.window
    if window is None:
        columns, weight = inputs.T[None], values
    else:
        size = values.shape[2:]
        columns = nn.functional.unfold(inputs, size, stride=window[0], padding=window[1])
        weight = values.flatten(1)
    total = torch.zeros(len(columns), len(weight), columns.shape[2])
    order = torch.randperm(weight.shape[1], generator=random)
    for group in order.split(int(torch.randint(3, 60, (), generator=random))):
        total = torch.matmul(weight[:, group], columns[:, group]) + total
    if window is None:
        return total[0].T
    side = (inputs.shape[2] + 2 * window[1][0] - values.shape[2]) // window[0][0] + 1
    return total.unflatten(2, (side, -1))


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # told by switching oneDNN off
@pytest.mark.parametrize("name", NETWORKS)
def test_no_order_of_summation_changes_a_bit(name: str, monkeypatch: Any) -> None:
    _, judge, inputs = case(name)
    expected = answer(judge, inputs)
    assert all(0 < float(spikes.mean()) < 1 for spikes in expected[1])
    same(answer(judge, frames_last(inputs)), expected)
    for size in (1, 3, 7, 16) if name.startswith("small") else (5, 16):
        same(in_batches(judge, inputs, size), expected)
    same(in_batches(judge, inputs[:4], 1), (expected[0][:4], [s[:, :4] for s in expected[1]]))
    with threads(2):
        same(answer(judge, inputs), expected)
    judge.compute_sums_in(torch.float64)
    try:
        same(answer(judge, inputs), expected)
    finally:
        judge.compute_sums_in(torch.float32)
    with torch.backends.mkldnn.flags(enabled=False):
        same(answer(judge, inputs[:4]), (expected[0][:4], [s[:, :4] for s in expected[1]]))
    contiguous = exact(case(name)[0]) if name == "small" else judge
    for layer in contiguous.modules():
        if isinstance(layer, ExactSums) and name == "small":
            layer.values = layer.values.contiguous()
    same(answer(contiguous, inputs), expected)
    monkeypatch.setattr(ExactSums, "_sums", shuffled_sums)
    few = slice(0, 4)
    same(answer(judge, inputs[few]), (expected[0][few], [s[:, few] for s in expected[1]]))


def test_the_shuffled_reference_finds_sums_that_are_rounded() -> None:
    """The test above could fail."""
    _, judge, inputs = case("small")
    layer = judge.features[3]
    assert isinstance(layer, ExactSums)
    spikes = (torch.rand(4, *layer.values.shape[2:3], 8, 8) < 0.5).float()
    weight = layer.values[0] * 0.1
    one, other = shuffled_sums(layer, spikes, weight), layer._sums(spikes, weight)
    assert not torch.equal(one, other)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_says_what_the_network_says(name: str) -> None:
    model, judge, inputs = case(name)
    inputs = on_grid(inputs, judge.steps) / judge.steps
    with torch.no_grad():
        plain = model(inputs)
    found = judge(inputs)
    # A current at the threshold may fire in one and not in the other, as between any two layouts.
    near = (found - plain).abs().amax(1) < 1e-5
    assert near.double().mean() >= 0.9
    assert (found.argmax(1) == plain.argmax(1)).double().mean() >= 0.95


@pytest.mark.parametrize("name", NETWORKS)
def test_the_bound_is_reported_layer_by_layer(name: str) -> None:
    model, judge, _ = case(name)
    layers = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sorted(line.layer for line in judge.report) == sorted(layers)
    for line in judge.report:
        assert 0 < line.load <= LARGEST_SUM < 2**24
        assert line.error <= TOLERANCE
        assert 1 <= line.num_digits <= 3
    assert not list(judge.parameters())


def test_a_network_stays_as_it_was() -> None:
    model = network("wrn16_4").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    judge = exact(model)
    assert all(layer.training for layer in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    again = exact(model.eval())
    assert torch.equal(judge(images(2, 8)), again(images(2, 8)))


def test_first_layer_is_that_of_the_normalised_image_padded_with_zeros() -> None:
    model, judge, inputs = case("small")
    first = judge.features[0]
    normalised = model.double().normalization(inputs.double())
    expected = model.features[:2](normalised)
    model.float()
    found = first(on_grid(inputs, IMAGE_STEPS))
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6)


def test_pixels_of_eight_bits_lie_on_the_grid() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).float() / 255
    assert torch.equal(on_grid(pixels, IMAGE_STEPS), 257.0 * torch.arange(256))
    steps = torch.arange(2**16).float()
    assert torch.equal(on_grid(steps / IMAGE_STEPS, IMAGE_STEPS), steps)


@pytest.mark.parametrize(("form", "scale"), [("counts", 1.0), ("scaled", 6.0), ("binary", 1.0)])
def test_event_frames_become_what_the_first_layer_makes_of_them(form: str, scale: float) -> None:
    random = torch.Generator().manual_seed(2)
    counts = torch.randint(0, 12 * FRAME_STEPS, (3, 4, 2, 8, 8), generator=random) / FRAME_STEPS
    made = {
        "counts": counts,
        "scaled": (counts / scale).clamp(max=1.0),
        "binary": (counts >= 0.5).float(),
    }[form]
    layer = GridInput(frames=True, form=form, scale=scale)
    whole = layer(counts)
    assert torch.equal(whole, whole.round())
    assert 0 <= whole.min() <= whole.max() <= layer.grid.levels
    torch.testing.assert_close(whole.double() / layer.grid.divisor, made.double())


@pytest.mark.parametrize("bad", [-1e-3, 1.001, math.nan, math.inf])
def test_inputs_outside_the_grid_are_refused(bad: float) -> None:
    _, judge, inputs = case("small")
    wrong = inputs[:2].clone()
    wrong[1, 0, 2, 3] = bad
    with pytest.raises(InexactError, match="takes inputs from 0 to 1"):
        judge(wrong)


@pytest.mark.parametrize("leak", [1.0, 0.9, 0.0, 1 / 3])
def test_neurons_do_what_the_definition_says(leak: float) -> None:
    torch.manual_seed(1)
    current = torch.randn(5, 4, 6, 3, 3)
    layer = ExactNeurons(leak, 0.8, 5)
    found = layer(current.flatten(0, 1)).unflatten(0, (5, 4))
    voltage = torch.zeros(4, 6, 3, 3)
    for step in range(5):
        constants = {"leak": leak, "threshold": 0.8, "surrogate": triangle, "gamma": 1.0}
        spikes, voltage = lif_step(current[step], voltage, **constants)  # type: ignore[arg-type]
        assert torch.equal(found[step], spikes)


ROW: st.SearchStrategy[list[float]] = st.one_of(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=40),
    st.lists(st.floats(-1.0, 1.0, width=32), min_size=1, max_size=40),
    st.lists(st.floats(-(2.0**-120), 2.0**-120, width=32), min_size=1, max_size=40),
    st.lists(st.sampled_from([0.0, 1e-45, -1e-38, 1.0, -0.5, 3e29]), min_size=1, max_size=40),
    st.tuples(st.floats(-4, 4, width=32), st.integers(1, 5000)).map(lambda t: [t[0]] * t[1]),
)


@settings(max_examples=150, deadline=None)
@given(row=ROW, levels=st.sampled_from([1, 4, 16, 255, 2048]), seed=st.integers(0, 2**16))
def test_digits_are_float32s_own_and_no_input_overflows_them(
    row: list[float], levels: int, seed: int
) -> None:
    weight = torch.tensor([row], dtype=torch.float64)
    if len(row) * levels > 2**13:  # more than three digits may have room for
        try:
            found = digits(weight, levels, "layer")
        except InexactError:
            return
    else:
        found = digits(weight, levels, "layer")
    values, units = found.values.double(), found.units.double()
    assert torch.equal(values, values.round())
    assert values.abs().max() <= LARGEST_DIGIT
    error = (weight - (values * units[:, :, None]).sum(0)).abs().max()
    assert error <= max(TOLERANCE * weight.abs().max(), 2.0**-127)
    # The units are powers of two that float32 has, and the worst inputs stay exact in any order.
    assert torch.equal(torch.frexp(found.units)[0], torch.full_like(found.units, 0.5))
    random = torch.Generator().manual_seed(seed)
    for digit in values[:, 0]:
        for sign in (1, -1):
            inputs = levels * (sign * digit > 0).double()
            products = (digit * inputs)[torch.randperm(len(row), generator=random)].float()
            running = torch.zeros(())
            for product in products[:300]:
                running = running + product
            assert running.double() == products[:300].double().sum()
            assert abs(float((digit * inputs).sum())) <= LARGEST_SUM


@settings(max_examples=25, deadline=None)
@given(
    scales=st.lists(
        st.sampled_from([0.0, 1e-42, 1e-30, 1e-3, 1.0, 50.0, 1e20]), min_size=8, max_size=8
    ),
    seed=st.integers(0, 2**16),
)
def test_any_weights_are_judged_alike_in_any_order(scales: list[float], seed: int) -> None:
    """Zero and denormal outputs, huge ones, and one dominant weight."""
    model = network("small", channels=(4, 8, 4))
    torch.manual_seed(seed)
    with torch.no_grad():
        conv, norm = model.features[3], model.features[4]
        conv.weight.copy_(torch.randn_like(conv.weight) * torch.tensor(scales).view(-1, 1, 1, 1))
        conv.weight[0, 0, 1, 1] = 2.0**17
        norm.running_var[3] = 0.0
        norm.weight[2] = 0.0
    judge = exact(model)
    inputs = images(3, 8, seed)
    expected = answer(judge, inputs)
    same(in_batches(judge, frames_last(inputs), 1), expected)
    judge.compute_sums_in(torch.float64)
    same(answer(judge, inputs), expected)
    judge.compute_sums_in(torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExactSums, "_sums", shuffled_sums)
        same(answer(judge, inputs), expected)


def too_large_a_digit(digit: Tensor) -> None:
    digit[0, 3] = 2049


def a_fraction(digit: Tensor) -> None:
    digit[0, 3] = 0.5


def too_large_a_sum(digit: Tensor) -> None:
    digit[:] = 2048


@pytest.mark.parametrize("spoil", [too_large_a_digit, a_fraction, too_large_a_sum])
def test_a_digit_that_breaks_the_bound_is_found(spoil: Callable[[Tensor], None]) -> None:
    digit = torch.ones(2, 4608)
    prove(digit, 4, "layer")
    spoil(digit)
    with pytest.raises(InexactError, match="layer"):
        prove(digit, 4, "layer")


def test_the_bound_is_tight() -> None:
    digit = torch.full((1, 8192), 2047.0)
    prove(digit, 1, "layer")
    digit[0, :-1] = 2048.0
    digit[0, -1] = 2047.0
    prove(digit, 1, "layer")
    digit[0, -1] = 2048.0
    with pytest.raises(InexactError, match="16777216, which is not below 2"):
        prove(digit, 1, "layer")


def test_a_third_digit_where_two_are_too_coarse() -> None:
    torch.manual_seed(0)
    weight = torch.rand(3, 20000)
    assert len(digits(weight, 1, "layer").values) == 3
    assert len(digits(weight[:, :500], 1, "layer").values) == 2
    assert len(digits(weight.round(), 1, "layer").values) == 1


def test_a_layer_without_a_bound_is_named() -> None:
    torch.manual_seed(0)
    with pytest.raises(InexactError, match=r"features\.3: output \d+ adds up 200000 inputs"):
        digits(torch.rand(2, 200000), 255, "features.3")


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e31])
def test_a_weight_that_no_float_can_sum_is_named(bad: float) -> None:
    model = network("small")
    with torch.no_grad():
        model.features[3].weight[1, 2, 0, 0] = bad
    with pytest.raises(InexactError, match=r"features\.3: its largest weight"):
        exact(model)


def test_what_has_no_exact_twin_is_refused_by_name() -> None:
    config = ModelConfig(architecture="small", encoding="poisson")
    spec = InputSpec(channels=3, height=8, width=8, num_classes=10)
    with pytest.raises(InexactError, match="Poisson"):
        exact(build_model(config, spec))
    for layer, why in (
        (nn.AvgPool2d(3), "mean of 9 values"),
        (nn.MaxPool2d(2), "no exact MaxPool2d"),
        (nn.Conv2d(16, 32, 3, padding=1, groups=2), "plain convolution"),
    ):
        model = network("small")
        model.features[3] = layer
        with pytest.raises(InexactError, match=rf"features\.3: .*{why}"):
            exact(model)
    model = network("small")
    model.features[2] = nn.Flatten()  # no spikes: a current goes into the next convolution
    with pytest.raises(InexactError, match=r"features\.3: its inputs are not on a known grid"):
        exact(model)
    model = network("small")
    model.features = nn.Sequential(nn.Flatten(), *model.features)  # no place for the normalisation
    with pytest.raises(InexactError, match=r"features\.0: .*begin with a convolution"):
        exact(model)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_gpu_says_the_same_with_tensor_cores(name: str) -> None:
    _, judge, inputs = case(name)
    expected = answer(judge, inputs)
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        for allowed in (True, False):
            torch.backends.cuda.matmul.allow_tf32 = allowed
            logits, spikes = answer(judge.cuda(), inputs.cuda())
            same((logits.cpu(), [layer.cpu() for layer in spikes]), expected)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
        judge.cpu()
