"""Networks of SpikingJelly's neurons: oracles, victims, and what they cannot have."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import GradientEstimator, oracle, stateless, unsupported
from models.config import NeuronConfig
from models.foreign import KNOWN, kind
from models.neurons import SpikingNeurons
from models.surrogates import SURROGATES

REASON = "networks of SpikingJelly's neurons; install the extra 'test'"
pytest.importorskip("pipeline.data.torchvision_import").torchvision_datasets()
neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason=REASON)
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate", reason=REASON)
encoding = pytest.importorskip("spikingjelly.activation_based.encoding", reason=REASON)
layer = pytest.importorskip("spikingjelly.activation_based.layer", reason=REASON)

TIME = 5
SIDE = 6
NUM_CLASSES = 4
LEAKY = 1.6
"""Time constant of the leaky neurons: they keep 0.375 of their voltage in a step."""

BY_SURROGATE = [
    *(GradientEstimator(surrogate=name) for name in SURROGATES),
    GradientEstimator(surrogate="triangle", width=0.4),
    GradientEstimator(surrogate="arctangent", width=0.7),
]
BY_RULE = [
    GradientEstimator(method="rga"),
    GradientEstimator(method="bptr"),
    GradientEstimator(method="hart"),
    GradientEstimator(method="hart", width=0.5),
    GradientEstimator(method="pdsg"),
    GradientEstimator(method="assg"),
    GradientEstimator(method="relu"),
]
ESTIMATORS = [*BY_SURROGATE, *BY_RULE]
RGA = GradientEstimator(method="rga")
SIGMOID = GradientEstimator(surrogate="sigmoid", width=4.0)


class Ours(nn.Module):
    """Our neurons, after the gain by which some of SpikingJelly's weaken their input."""

    def __init__(self, leak: float, gain: float, threshold: float) -> None:
        super().__init__()
        self.gain = gain
        self.neurons = SpikingNeurons(NeuronConfig(leak=leak, threshold=threshold), TIME)

    def forward(self, current: Tensor) -> Tensor:
        return self.neurons((self.gain * current).flatten(0, 1)).unflatten(0, (TIME, -1))


class Network(nn.Module):
    """Two spiking layers in multi-step mode; it does not reset them, as many do not."""

    def __init__(self, neurons: Callable[[], nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.first = neurons()
        self.linear = nn.Linear(4 * SIDE * SIDE, 12)
        self.second = neurons()
        self.head = nn.Linear(12, NUM_CLASSES)
        self.rates: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        current = 5.0 * self.conv(images - 0.5)
        spikes = self.first(current.expand(TIME, *current.shape))
        later = self.second(3.0 * self.linear(spikes.flatten(2)) + 0.3)
        self.rates = [float(spikes.detach().mean()), float(later.detach().mean())]
        return self.head(later.mean(0))


class StepByStep(Network):
    """The same in single-step mode."""

    def forward(self, images: Tensor) -> Tensor:
        outputs = []
        for _ in range(TIME):
            spikes = self.first(5.0 * self.conv(images - 0.5))
            outputs.append(self.second(3.0 * self.linear(spikes.flatten(1)) + 0.3))
        return self.head(torch.stack(outputs).mean(0))


class Alone(nn.Module):
    """One layer; its logits are weighted spike counts of each neuron. The input may grow."""

    def __init__(self, node: nn.Module, mode: str = "m", growth: float = 2.2) -> None:
        super().__init__()
        self.node, self.mode, self.growth = node, mode, growth

    def forward(self, images: Tensor) -> Tensor:
        steps = torch.arange(TIME, dtype=images.dtype).view(-1, 1, 1, 1, 1)
        current = (1.0 + self.growth * (steps / TIME - 0.3)) * images
        if self.mode == "m":
            spikes = self.node(current)
        else:
            spikes = torch.stack([self.node(step) for step in current])
        return ((steps + 1) * spikes).sum(0).flatten(1)


def draw(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)).to(
        torch.get_default_dtype()
    )


@pytest.fixture
def images() -> Tensor:
    return draw(3, 1, SIDE, SIDE)


def gradient(classifier: Any, images: Tensor) -> Tensor:
    images = images.detach().requires_grad_()
    logits = classifier(images)
    weights = torch.linspace(-1.0, 1.0, logits.shape[1], dtype=logits.dtype)
    (slope,) = torch.autograd.grad((logits * weights).sum(), images)
    return slope


def assert_same(mine: Tensor, other: Tensor) -> None:
    scale = float(other.detach().abs().max())
    assert scale > 1e-6, "nothing to compare"
    torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12 * scale)


def at_rest(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if hasattr(module, "reset"):
            module.reset()
    return model


def build(make: Callable[..., nn.Module], **settings: Any) -> Callable[[], nn.Module]:
    settings = {"step_mode": "m", "surrogate_function": surrogate.SoftSign(), **settings}
    return lambda: make(**settings)


def ours(leak: float, gain: float, threshold: float = 1.0) -> Callable[[], nn.Module]:
    return lambda: Ours(leak, gain, threshold)


SHARE = 1 / LEAKY
PAIRS = {
    "if": (build(neuron.IFNode), ours(1.0, 1.0)),
    "if-threshold": (build(neuron.IFNode, v_threshold=0.6), ours(1.0, 1.0, 0.6)),
    "simple-if": (build(neuron.SimpleIFNode), ours(1.0, 1.0)),
    "lif-decay": (build(neuron.LIFNode, tau=LEAKY, v_threshold=0.7), ours(1 - SHARE, SHARE, 0.7)),
    "lif": (build(neuron.LIFNode, tau=LEAKY, decay_input=False), ours(1 - SHARE, 1.0)),
    "simple-lif": (
        build(neuron.SimpleLIFNode, tau=LEAKY, decay_input=True),
        ours(1 - SHARE, SHARE),
    ),
    "plif-decay": (build(neuron.ParametricLIFNode, init_tau=LEAKY), ours(1 - SHARE, SHARE)),
    "plif": (
        build(neuron.ParametricLIFNode, init_tau=LEAKY, decay_input=False),
        ours(1 - SHARE, 1.0),
    ),
}

LIF = PAIRS["lif"][0]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: e.label)
@pytest.mark.parametrize("pair", PAIRS)
def test_gradients_are_those_of_our_neurons(pair: str, estimator: GradientEstimator) -> None:
    images = draw(3, 1, SIDE, SIDE)
    theirs, mine = (Network(make).eval() for make in PAIRS[pair])
    assert unsupported(theirs, estimator) == ""
    assert_same(oracle(theirs, estimator)(images), oracle(mine, estimator)(images))
    assert_same(
        gradient(oracle(theirs, estimator), images), gradient(oracle(mine, estimator), images)
    )
    mine(images)
    assert all(0.02 < rate < 0.98 for rate in mine.rates)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("estimator", BY_SURROGATE, ids=lambda e: e.label)
@pytest.mark.parametrize("pair", PAIRS)
def test_surrogates_in_single_step_mode(pair: str, estimator: GradientEstimator) -> None:
    images = draw(3, 1, SIDE, SIDE)
    theirs, mine = StepByStep(PAIRS[pair][0]), Network(PAIRS[pair][1])
    for node in (theirs.first, theirs.second):
        node.step_mode = "s"
    assert_same(
        gradient(oracle(theirs, estimator), images), gradient(oracle(mine, estimator), images)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: e.label)
@pytest.mark.parametrize("pair", PAIRS)
def test_the_spikes_stay_the_networks_own(
    pair: str, estimator: GradientEstimator, dtype: torch.dtype
) -> None:
    """On tenths, too, where sums meet the threshold and rounding decides."""
    model = Alone(PAIRS[pair][0]()).to(dtype)
    images = (10 * draw(40, 1, 8, 8)).round().div(10).to(dtype)
    own = at_rest(model)(images)
    assert 0.02 < float((own > 0).to(dtype).mean()) < 0.98
    assert torch.equal(oracle(model, estimator)(images), own)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("pair", PAIRS)
def test_our_neuron_fires_as_theirs(pair: str, dtype: torch.dtype) -> None:
    """Else a rule would differentiate other spikes than those of the forward pass."""
    theirs, mine = (Alone(make()).to(dtype) for make in PAIRS[pair])
    images = draw(64, 1, 16, 16).to(dtype)
    assert torch.equal(theirs(images), mine(images))


def test_at_the_threshold_rga_keeps_the_nodes_spike() -> None:
    """Our own networks fire strictly above it there, as the authors' code does."""
    theirs, mine = (Alone(make(), growth=0.0) for make in PAIRS["if"])
    ones = torch.ones(2, 1, 1, 1)
    assert oracle(theirs, RGA)(ones).tolist() == [[15.0], [15.0]]
    assert oracle(mine, RGA)(ones).tolist() == [[6.0], [6.0]]


def slope_by_hand(
    current: list[float],
    tau: float,
    decay_input: bool,
    detach_reset: bool,
    surrogate_slope: Callable[[float], float],
) -> list[float]:
    """Derivative of sum_t (t + 1) s_t by each step's input, forward in time, in plain Python.

    The charge equations of SpikingJelly's documentation, at a threshold of 1 and a reset to 0.
    """
    slopes = []
    for wanted in range(len(current)):
        voltage = change = slope = 0.0
        for step, x in enumerate(current):
            dx = float(step == wanted)
            if decay_input:
                charged, dcharged = voltage + (x - voltage) / tau, change + (dx - change) / tau
            else:
                charged, dcharged = voltage - voltage / tau + x, change - change / tau + dx
            spike, dspike = float(charged >= 1.0), surrogate_slope(charged - 1.0) * dcharged
            voltage = charged * (1.0 - spike)
            change = dcharged * (1.0 - spike) - (0.0 if detach_reset else charged * dspike)
            slope += (step + 1) * dspike
        slopes.append(slope)
    return slopes


CURRENT = [0.9, 0.7, 1.3, -0.2, 1.1]


class Single(nn.Module):
    """One neuron; its T inputs come as an image of T pixels."""

    def __init__(self, node: nn.Module) -> None:
        super().__init__()
        self.node = node

    def forward(self, images: Tensor) -> Tensor:
        spikes = self.node(images.flatten(1).T)
        return (torch.arange(1.0, TIME + 1).view(-1, 1) * spikes).sum(0).unsqueeze(1)


def single_slope(node: nn.Module, estimator: GradientEstimator) -> Tensor:
    image = torch.tensor(CURRENT).view(1, 1, 1, TIME).requires_grad_()
    (slope,) = torch.autograd.grad(oracle(Single(node), estimator)(image).sum(), image)
    return slope.flatten()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("decay_input", [False, True])
@pytest.mark.parametrize("make", [neuron.LIFNode, neuron.SimpleLIFNode, neuron.ParametricLIFNode])
def test_surrogate_by_hand(make: Any, decay_input: bool, detach_reset: bool) -> None:
    time_constant = {"init_tau" if make is neuron.ParametricLIFNode else "tau": LEAKY}
    node = make(decay_input=decay_input, detach_reset=detach_reset, step_mode="m", **time_constant)
    by_hand = [
        slope_by_hand(CURRENT, LEAKY, decay_input, detached, lambda x: max(0.0, 1.0 - abs(x)))
        for detached in (detach_reset, not detach_reset)
    ]
    assert by_hand[0] != by_hand[1]
    assert_same(single_slope(node, GradientEstimator()), torch.tensor(by_hand[0]))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize(
    ("decay_input", "slope"),
    [
        # Mean current 0.76: above 1 - leak = 0.625, so (1 - 0.2 + 0.2 * leak) / (leak + 1).
        (False, 0.875 / 1.375),
        # Mean current 0.76 / 1.6 = 0.475: below it, so 0.2; by the input another 1/1.6.
        (True, 0.2 / LEAKY),
    ],
)
def test_rga_by_hand(decay_input: bool, slope: float, detach_reset: bool) -> None:
    node = neuron.LIFNode(
        tau=LEAKY, decay_input=decay_input, detach_reset=detach_reset, step_mode="m"
    )
    assert_same(single_slope(node, RGA), slope * torch.arange(1.0, TIME + 1))


@pytest.mark.usefixtures("float64")
def test_bptr_by_hand() -> None:
    """The third step charges the neuron to 1.0556640625; no other goes as high."""
    loud, quiet = (
        neuron.LIFNode(tau=LEAKY, v_threshold=threshold, step_mode="m") for threshold in (1.0, 1.1)
    )
    bptr = GradientEstimator(method="bptr")
    assert_same(single_slope(loud, bptr), torch.arange(1.0, TIME + 1) / LEAKY)
    assert single_slope(quiet, bptr).tolist() == [0.0] * TIME


KINDS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "IFNode": (neuron.IFNode, "sm"),
    "SimpleIFNode": (neuron.SimpleIFNode, "sm"),
    "LIFNode": (neuron.LIFNode, "sm"),
    "SimpleLIFNode": (lambda **kw: neuron.SimpleLIFNode(2.0, True, **kw), "sm"),
    "ParametricLIFNode": (neuron.ParametricLIFNode, "sm"),
    "HalfThresholdIFNode": (neuron.HalfThresholdIFNode, "sm"),
    "QIFNode": (neuron.QIFNode, "sm"),
    "EIFNode": (neuron.EIFNode, "sm"),
    "IzhikevichNode": (neuron.IzhikevichNode, "sm"),
    "KLIFNode": (neuron.KLIFNode, "sm"),
    "RAFNode": (neuron.RAFNode, "sm"),
    "ComplementaryLIFNode": (neuron.ComplementaryLIFNode, "sm"),
    "CUBALIFNode": (neuron.CUBALIFNode, "sm"),
    "GatedLIFNode": (lambda **kw: neuron.GatedLIFNode(T=TIME, **kw), "m"),
    "PSN": (lambda **kw: neuron.PSN(T=TIME, **kw), "m"),
    "MaskedPSN": (lambda **kw: neuron.MaskedPSN(k=2, T=TIME, lambda_init=1.0, **kw), "sm"),
    "SlidingPSN": (lambda **kw: neuron.SlidingPSN(k=2, **kw), "sm"),
}


def of_kind(name: str, mode: str, function: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    node = KINDS[name][0](surrogate_function=function)
    if name != "PSN":
        node.step_mode = mode
    return node


def test_every_kind_is_tried_here() -> None:
    bases = {"BaseNode", "AdaptBaseNode", "SimpleBaseNode"}
    assert set(KINDS) | bases == KNOWN
    assert all(hasattr(neuron, name) for name in KNOWN)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("name", "mode"), [(name, mode) for name, (_, modes) in KINDS.items() for mode in modes]
)
def test_the_gradient_follows_the_swapped_surrogate(
    name: str, mode: str, dtype: torch.dtype
) -> None:
    """In evaluation mode and in float32, where SpikingJelly takes other paths, too."""
    images = (3.0 * draw(3, 4, 5, 5)).to(dtype)
    swapped = Alone(of_kind(name, mode, surrogate.ATan(alpha=1.5)), mode).to(dtype).eval()
    wanted = Alone(of_kind(name, mode, surrogate.Sigmoid(alpha=4.0)), mode).to(dtype).train()
    wanted.load_state_dict(swapped.state_dict())
    logits = at_rest(swapped)(images)
    assert float((logits > 0).to(dtype).mean()) > 0.02
    assert torch.equal(oracle(swapped, SIGMOID)(images), logits)
    expected = gradient(at_rest(wanted), images)
    assert float(expected.abs().max()) > 0
    found = gradient(oracle(swapped, SIGMOID), images)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    own = gradient(at_rest(swapped.train()), images)
    assert float((own - found).abs().max()) > 0.01, "the surrogates hardly differ here"


def test_a_networks_own_gradient_is_that_of_its_training() -> None:
    """Some nodes leave the surrogate out in evaluation mode: there would be no gradient."""
    images = 3.0 * draw(3, 4, 5, 5)
    model = Alone(of_kind("ComplementaryLIFNode", "m", surrogate.ATan()))
    expected = gradient(at_rest(model.train()), images)
    own = oracle(model.eval(), GradientEstimator(method="own"))
    assert torch.equal(gradient(own, images), expected)
    assert float(expected.abs().max()) > 0
    assert not any(module.training for module in model.modules())
    with pytest.raises(RuntimeError):
        gradient(at_rest(model), images)


def test_unknown_neurons_keep_their_mode(images: Tensor) -> None:
    """What training means to them is not known here."""
    model = Alone(neuron.OTTTLIFNode(), "s").eval()
    seen: list[bool] = []
    model.node.register_forward_pre_hook(lambda node, _: seen.append(node.training))
    oracle(model, GradientEstimator(method="own"))(images)
    assert seen == [False] * TIME


def test_a_soft_reset_has_surrogates(images: Tensor) -> None:
    make = build(neuron.LIFNode, v_reset=None)
    wanted = build(neuron.LIFNode, v_reset=None, surrogate_function=surrogate.Sigmoid(alpha=4.0))
    found = gradient(oracle(Alone(make()), SIGMOID), 3 * images)
    torch.testing.assert_close(found, gradient(Alone(wanted()), 3 * images))


def test_steps_of_ones_own_are_kept() -> None:
    """A step that is 0 at 0 fires later than SpikingJelly's on a constant current of 1."""
    node = neuron.IFNode(step_mode="m", surrogate_function=lambda x: (x > 0).to(x))
    assert oracle(Alone(node, growth=0.0), SIGMOID)(torch.ones(1, 1, 1, 1)).tolist() == [[6.0]]


class Leaving(neuron.BaseNode):
    """A user's neuron, by the library's contract."""

    def single_step_functional_forward(self, inputs: Any, states: Any, **_: Any) -> Any:
        charged = 0.5 * states[0] + inputs[0]
        spike = self.surrogate_function(charged - self.v_threshold)
        return (spike,), (charged * (1 - spike),)


class Lawless(neuron.IFNode):
    """A user's neuron that never asks its surrogate."""

    def multi_step_forward(self, x_seq: Tensor, *_: Any, **__: Any) -> Tensor:
        return torch.sigmoid(x_seq)


def test_a_users_own_neuron_has_surrogates(images: Tensor) -> None:
    own = Leaving(surrogate_function=surrogate.Sigmoid(alpha=4.0), step_mode="m")
    found = gradient(oracle(Alone(Leaving(step_mode="m")), SIGMOID), images)
    torch.testing.assert_close(found, gradient(Alone(own), images))
    found = gradient(oracle(Alone(Leaving(step_mode="m")), GradientEstimator()), images)
    twin = Alone(Ours(0.5, 1.0, 1.0))
    torch.testing.assert_close(found, gradient(oracle(twin, GradientEstimator()), images))


def test_a_neuron_without_its_surrogate_is_an_error(images: Tensor) -> None:
    model = Alone(Lawless(step_mode="m"))
    with pytest.raises(RuntimeError, match="Lawless does not fire through its surrogate_function"):
        oracle(model, SIGMOID)(images)
    assert torch.equal(oracle(model, GradientEstimator(method="own"))(images), model(images))


class Compiled(neuron.IFNode):
    """As in older versions: backends other than torch have their own surrogates."""

    def __init__(self) -> None:
        super().__init__(step_mode="m")
        self._backend = "cupy"
        self.seen: list[str] = []

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.seen.append(self._backend)
        return super().multi_step_forward(x_seq, *args, **kwargs)


def test_the_backend_is_torch_for_the_pass(images: Tensor) -> None:
    node = Compiled()
    oracle(Alone(node), SIGMOID)(images)
    Alone(node)(images)
    assert node.seen == ["torch", "cupy"]


def attributes(model: nn.Module) -> list[dict[str, Any]]:
    """All attributes of the nodes, but for what their memory holds."""
    nodes = [module for module in model.modules() if kind(module)]
    return [{name: v for name, v in vars(node).items() if name != "_memories"} for node in nodes]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: e.label)
@pytest.mark.parametrize(
    "function", [surrogate.ATan(), lambda x: (x >= 0).to(x)], ids=["module", "function"]
)
@pytest.mark.parametrize("training", [False, True])
def test_nodes_are_put_back(
    images: Tensor, estimator: GradientEstimator, function: Any, training: bool
) -> None:
    model = Network(build(neuron.LIFNode, surrogate_function=function)).train(training)
    before, weights = attributes(model), list(model.state_dict())
    modes = [module.training for module in model.modules()]
    worn: list[set[str]] = []
    handle = model.linear.register_forward_pre_hook(
        lambda *_: worn.append(set(vars(model.second)) - set(before[1]))
    )
    oracle(model, estimator)(images)
    handle.remove()
    assert worn[0] & {"forward", "multi_step_forward"}
    assert attributes(model) == before
    assert list(model.state_dict()) == weights
    assert [module.training for module in model.modules()] == modes
    assert model.first.surrogate_function is function


@pytest.mark.parametrize("estimator", [SIGMOID, *BY_RULE], ids=lambda e: e.label)
def test_nodes_are_put_back_after_a_failure(images: Tensor, estimator: GradientEstimator) -> None:
    model = Network(build(neuron.IFNode))
    before = attributes(model)
    with pytest.raises(RuntimeError):
        oracle(model, estimator)(images[:, :, :3])
    assert attributes(model) == before
    assert gradient(oracle(model, estimator), images).abs().max() > 0


def test_the_oracle_is_captured_before_backward(images: Tensor) -> None:
    model = Network(LIF)
    alone = gradient(oracle(model, RGA), images)

    def interleaved(x: Tensor) -> Tensor:
        logits = oracle(model, RGA)(x)
        oracle(model, SIGMOID)(x.detach())
        model(2 * x.detach())
        return logits

    assert torch.equal(gradient(interleaved, images), alone)
    assert not torch.equal(gradient(oracle(model, SIGMOID), images), alone)


@pytest.mark.usefixtures("float64")
def test_the_memory_of_an_attack(images: Tensor) -> None:
    """ASSG learns from step to step, sample by sample, as with our own neurons."""
    images, estimator = draw(3, 1, SIDE, SIDE), GradientEstimator(method="assg")
    theirs, mine = (oracle(Network(make), estimator) for make in PAIRS["lif"])
    first, again = gradient(theirs, images), gradient(theirs, images)
    assert not torch.equal(first, again)
    assert_same(first, gradient(mine, images))
    assert_same(again, gradient(mine, images))
    assert torch.equal(gradient(theirs.fresh(), images), first)
    fewer = torch.tensor([True, False, True])
    theirs, mine = theirs.narrowed(fewer), mine.narrowed(fewer)
    assert_same(gradient(theirs, images[fewer]), gradient(mine, images[fewer]))

    def drawn(x: Tensor) -> Tensor:
        return theirs(x, learning=False)

    assert torch.equal(gradient(drawn, images[fewer]), gradient(drawn, images[fewer]))


@pytest.mark.parametrize("make", [Network, StepByStep])
def test_a_stateless_victim_gives_the_same_answer_twice(make: Any, images: Tensor) -> None:
    mode = "m" if make is Network else "s"
    model = make(build(neuron.IFNode, step_mode=mode))
    first = model(images)
    assert not torch.equal(model(images), first)
    victim = stateless(model)
    assert torch.equal(victim(images), first)
    assert torch.equal(victim(images), first)
    assert torch.equal(oracle(model, SIGMOID)(images), first)
    assert torch.equal(oracle(model, SIGMOID)(images), first)
    assert torch.equal(
        gradient(oracle(victim, SIGMOID), images), gradient(oracle(model, SIGMOID), images)
    )


def test_relu_judges_by_spikes_from_rest(images: Tensor) -> None:
    """Both passes start anew, for synapses that remember, too."""
    synapse = layer.SynapseFilter(tau=100.0, step_mode="m")
    model = Network(lambda: nn.Sequential(LIF(), copy.deepcopy(synapse)))
    own = model(images)
    assert not torch.equal(own[0], own[1])
    assert not torch.equal(model(images), own)
    target = oracle(model, GradientEstimator(method="relu"))
    assert torch.equal(target(images), own)
    assert torch.equal(target(images), own)


@pytest.mark.parametrize("training", [False, True])
def test_stateless_shares_modules_and_modes(training: bool) -> None:
    model = Network(build(neuron.LIFNode)).train(training)
    model.conv.eval()
    victim = stateless(model)
    assert [m.training for m in model.modules()] == [m.training for m in list(victim.modules())[1:]]
    assert victim.training is training
    assert model.conv.training is False
    assert all(m.training is False for m in victim.eval().modules())
    assert model.training is False
    assert {id(p) for p in victim.parameters()} == {id(p) for p in model.parameters()}
    assert stateless(victim) is victim


def test_encoders_forget_the_last_image() -> None:
    """Else the second image would go through the network with the first one's code."""
    encoder = encoding.LatencyEncoder(T=3)
    dark, bright = torch.zeros(1, 1), torch.ones(1, 1)
    assert encoder(bright).tolist() == [[1.0]]
    assert encoder(dark).tolist() == [[0.0]]
    assert encoder(dark).tolist() == [[0.0]]
    assert encoder(dark).tolist() == [[1.0]], "the bright one's first step again"
    victim = stateless(encoder)
    assert [victim(image).item() for image in (bright, bright, dark, dark)] == [1.0, 1.0, 0.0, 0.0]


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4))


def test_a_plain_network_has_its_own_gradient_alone(images: Tensor) -> None:
    model = plain()
    assert stateless(model) is model
    own = GradientEstimator(method="own")
    assert unsupported(model, own) == ""
    assert torch.equal(gradient(oracle(model, own), images), gradient(model, images))
    for estimator in ESTIMATORS:
        assert unsupported(model, estimator).startswith("There are no spiking neurons known here")
        with pytest.raises(ValueError, match="no spiking neurons known here"):
            oracle(model, estimator)


def test_our_networks_support_everything() -> None:
    model = Network(ours(0.5, 1.0))
    assert {unsupported(model, estimator) for estimator in ESTIMATORS} == {""}
    assert stateless(model) is model


def test_a_last_integrator_does_not_matter(images: Tensor) -> None:
    class Integrated(Network):
        def __init__(self) -> None:
            super().__init__(build(neuron.IFNode))
            self.integrator = neuron.NonSpikingLIFNode(decode="last_mem")

        def forward(self, images: Tensor) -> Tensor:
            current = 5.0 * self.conv(images - 0.5)
            spikes = self.first(current.expand(TIME, *current.shape))
            return self.integrator(self.linear(spikes.flatten(2)))

    model = Integrated()
    for estimator in ESTIMATORS:
        assert unsupported(model, estimator) == ""
        assert gradient(oracle(model, estimator), images).abs().max() > 0


ONLY_SURROGATES = {
    "step": (build(neuron.IFNode, step_mode="s"), "this one's step_mode is 's'"),
    "soft": (
        build(neuron.LIFNode, v_reset=None),
        "hard reset to 0, and this one's v_reset is None",
    ),
    "offset": (build(neuron.LIFNode, v_reset=-0.1), "this one's v_reset is -0.1"),
    "other": (build(neuron.KLIFNode), "is defined for IFNode, LIFNode and ParametricLIFNode"),
    "derived": (build(Lawless), "is defined for IFNode, LIFNode and ParametricLIFNode"),
    "threshold": (build(neuron.IFNode, v_threshold=-1.0), "needs a number above 0 as v_threshold"),
}


@pytest.mark.parametrize("case", ONLY_SURROGATES)
def test_rules_have_their_conditions(case: str) -> None:
    make, reason = ONLY_SURROGATES[case]
    model = Network(make)
    for estimator in BY_RULE:
        sentence = unsupported(model, estimator)
        assert sentence.startswith(f"There is no {estimator.label} for first ("), sentence
        assert reason in sentence
        assert sentence.endswith(".")
        with pytest.raises(ValueError, match="There is no"):
            oracle(model, estimator)
    assert {unsupported(model, estimator) for estimator in BY_SURROGATE} == {""}


NOTHING = {
    "unknown": (neuron.TernaryIFNode, "nothing is known here about its class"),
    "levels": (neuron.ILIFNode, "nothing is known here about its class"),
    "online": (neuron.OTTTLIFNode, "nothing is known here about its class"),
    "smooth": (
        lambda: neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False)),
        "its surrogate_function does not give spikes of 0 and 1",
    ),
}


@pytest.mark.parametrize("case", NOTHING)
def test_some_neurons_have_their_own_gradient_alone(case: str) -> None:
    make, reason = NOTHING[case]
    mixed = nn.Sequential(neuron.IFNode(step_mode="m"), make())
    assert unsupported(mixed, GradientEstimator(method="own")) == ""
    for estimator in ESTIMATORS:
        assert unsupported(mixed, estimator).startswith(f"There is no {estimator.label} for 1 (")
        assert reason in unsupported(mixed, estimator)
    assert unsupported(make(), RGA).startswith("There is no rga for the model (")


def test_explicit_precision_has_rules_alone() -> None:
    node = neuron.IFNode(step_mode="m")
    node._neuron_precision = (torch.float16, "fp32", "fp32")
    assert "explicit precision" in unsupported(node, SIGMOID)
    assert unsupported(node, RGA) == ""


class Halves(nn.Module):
    """Calls its node twice, and would go on from the first half's voltage."""

    def __init__(self) -> None:
        super().__init__()
        self.node = neuron.IFNode(step_mode="m")

    def forward(self, images: Tensor) -> Tensor:
        current = 0.6 * images.expand(2, *images.shape)
        return (self.node(current) + self.node(current)).mean(0).flatten(1)


@pytest.mark.parametrize("estimator", BY_RULE, ids=lambda e: e.label)
def test_rules_want_all_steps_in_one_call(images: Tensor, estimator: GradientEstimator) -> None:
    model = Halves()
    assert gradient(oracle(model, SIGMOID), images).abs().max() > 0
    if estimator.method == "relu":
        # There is no voltage to go on from.
        assert gradient(oracle(model, estimator), images).abs().max() > 0
    else:
        with pytest.raises(RuntimeError, match="IFNode does not start at rest"):
            oracle(model, estimator)(images)


def test_copies_share_nothing(images: Tensor) -> None:
    """A network can be copied after a pass, as the workers do."""
    model = Network(build(neuron.IFNode))
    oracle(model, SIGMOID)(images.requires_grad_(False))
    twin = copy.deepcopy(at_rest(model))
    assert torch.equal(oracle(twin, RGA)(images), oracle(model, RGA)(images))
