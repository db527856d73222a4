"""Networks of SpikingJelly's neurons: what an oracle and a judge have to know about them.

They are recognised by the names of their classes; nothing is imported from SpikingJelly.
"""

# Shapes: T time steps, B batch, "..." any further dimensions.

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.backward_rules import Adaptation, spike_trains
from models.config import GradientEstimator
from models.surrogates import SURROGATES, Surrogate

OUR_NEURON = frozenset({"IFNode", "SimpleIFNode", "LIFNode", "SimpleLIFNode", "ParametricLIFNode"})
"""Classes that do what `models.dynamics.fire` does: in multi-step mode, reset hard to 0."""
KNOWN = OUR_NEURON | {
    "AdaptBaseNode",
    "BaseNode",
    "CUBALIFNode",
    "ComplementaryLIFNode",
    "EIFNode",
    "GatedLIFNode",
    "HalfThresholdIFNode",
    "IzhikevichNode",
    "KLIFNode",
    "MaskedPSN",
    "PSN",
    "QIFNode",
    "RAFNode",
    "SimpleBaseNode",
    "SlidingPSN",
}
"""Classes whose spikes are `surrogate_function` of the excess over the threshold."""


def kind(module: nn.Module) -> str:
    """Name of the nearest SpikingJelly neuron among a module's ancestors, itself included.

    Empty for everything that does not spike, as the integrators that end some networks.
    """
    for ancestor in type(module).__mro__:
        package, *path = ancestor.__module__.split(".")
        if package == "spikingjelly" and not {"neuron", "rnn"}.isdisjoint(path):
            return "" if "NonSpiking" in ancestor.__name__ else ancestor.__name__
    return ""


def _is_unmodified(node: nn.Module) -> bool:
    """Whether a node is SpikingJelly's and not of a class that a user derived from it."""
    return type(node).__module__.startswith("spikingjelly.")


def obstacle(node: Any, estimator: GradientEstimator) -> str:
    """Why a SpikingJelly neuron cannot be differentiated so: a clause, or empty if it can."""
    name = estimator.label
    if kind(node) not in KNOWN:
        return "nothing is known here about its class"
    if not _fires(node.surrogate_function):
        return "its surrogate_function does not give spikes of 0 and 1"
    if estimator.method == "stbp":
        fixed = getattr(node, "_neuron_precision", None) is not None
        return "its explicit precision takes SpikingJelly's own surrogates alone" if fixed else ""
    if kind(node) not in OUR_NEURON or not _is_unmodified(node):
        return f"{name} is defined for IFNode, LIFNode and ParametricLIFNode"
    if node.step_mode != "m":
        return f"{name} is defined over all time steps at once, and this one's step_mode is 's'"
    if node.v_reset != 0:
        return f"{name} is defined for a hard reset to 0, and this one's v_reset is {node.v_reset}"
    if not isinstance(node.v_threshold, int | float) or node.v_threshold <= 0:
        return f"{name} needs a number above 0 as v_threshold"
    return ""


def _fires(surrogate_function: Callable[[Tensor], Tensor]) -> bool:
    """Whether it is a step; SpikingJelly also has smooth and multi-level ones."""
    with torch.no_grad():
        return surrogate_function(torch.tensor([-3.0, -0.3, 0.3, 3.0])).tolist() == [0, 0, 1, 1]


def worn(node: Any, estimator: GradientEstimator, memory: Adaptation) -> dict[str, Any]:
    """Attributes that make a node differentiate its spikes by `estimator` while it wears them.

    The spikes stay those of the node on its torch backend, bit by bit; `relu` alone has none.
    """
    if estimator.method not in ("own", "stbp"):
        return {"multi_step_forward": _ruled(node, estimator, memory)}
    attributes: dict[str, Any] = {}
    if kind(node) in KNOWN and _is_unmodified(node):
        # Some kinds and versions leave the surrogate out in evaluation mode; all else is equal.
        attributes["training"] = True
    if estimator.method == "stbp":
        swapped = _Swapped(node.surrogate_function, estimator)
        attributes |= {"surrogate_function": swapped, "forward": _checked(node, swapped)}
        if hasattr(node, "_backend"):
            # In older versions the other backends have compiled surrogates of their own.
            attributes["_backend"] = "torch"
    return attributes


class _Swapped:
    """A node's own step, differentiated by a surrogate of ours.

    All else is the node's business: with `detach_reset` no gradient flows through the reset.
    """

    def __init__(self, own: Callable[[Tensor], Tensor], estimator: GradientEstimator) -> None:
        self._own = own
        self._surrogate, self._gamma = SURROGATES[estimator.surrogate], estimator.gamma
        self.asked = False

    def __call__(self, excess: Tensor) -> Tensor:
        self.asked = True
        function: Any = _Step
        spikes: Tensor = function.apply(excess, self._own, self._surrogate, self._gamma)
        return spikes


class _Step(torch.autograd.Function):
    """Any step function forward, surrogate derivative backward."""

    @staticmethod
    def forward(
        ctx: Any,
        excess: Tensor,
        step: Callable[[Tensor], Tensor],
        surrogate: Surrogate,
        gamma: float,
    ) -> Tensor:
        ctx.save_for_backward(excess)
        ctx.surrogate, ctx.gamma = surrogate, gamma
        return step(excess)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (excess,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate(excess, ctx.gamma), None, None, None


def _checked(node: nn.Module, swapped: _Swapped) -> Callable[..., Any]:
    """The node's forward pass, which must not get by without the swapped surrogate."""
    own = node.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = own(*args, **kwargs)
        if not swapped.asked:
            raise RuntimeError(
                f"{type(node).__name__} does not fire through its surrogate_function: "
                "another surrogate would change nothing"
            )
        return output

    return forward


def _ruled(
    node: Any, estimator: GradientEstimator, memory: Adaptation
) -> Callable[[Tensor], Tensor]:
    """A multi-step forward pass of the node's spikes, with our neuron's gradient.

    Our neuron gets the node's effective current, leak and threshold. It fires as the node does
    but where rounding decides, and there the forward pass still is the node's: also for `rga`,
    whose authors fire strictly above the threshold.
    """
    own = node.multi_step_forward

    def forward(inputs: Tensor) -> Tensor:
        if torch.as_tensor(node.v).any():
            raise RuntimeError(
                f"{type(node).__name__} does not start at rest: {estimator.label} needs a neuron "
                "that sees all its time steps in one call, from a voltage of 0"
            )
        leak, gain = _constants(node)
        twin = spike_trains(
            inputs if gain == 1.0 else gain * inputs,
            estimator,
            leak=leak,
            threshold=node.v_threshold,
            memory=memory,
        )
        if estimator.method == "relu":
            return twin
        with torch.no_grad():
            spikes: Tensor = own(inputs)
        return spikes + (twin - twin.detach())

    return forward


def _constants(node: Any) -> tuple[float, float]:
    """What a node of `OUR_NEURON` keeps of its voltage in a time step, and takes of its input."""
    if not hasattr(node, "decay_input"):
        return 1.0, 1.0
    # The share 1/tau is learned in the parametric neuron.
    share = float(node.w.detach().sigmoid()) if hasattr(node, "w") else 1.0 / node.tau
    return 1.0 - share, share if node.decay_input else 1.0


def _remembers(module: nn.Module) -> bool:
    return any(
        ancestor.__name__ == "MemoryModule" and ancestor.__module__.startswith("spikingjelly.")
        for ancestor in type(module).__mro__
    )


def reset_memories(model: nn.Module) -> None:
    """Put every SpikingJelly module that remembers its last call back to its state at rest."""
    module: Any
    for module in model.modules():
        if _remembers(module):
            module.reset()


class _Stateless(nn.Module):
    """A network of SpikingJelly's that forgets between two calls."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = network.training

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (B, K), of images, shape (B, C, H, W)."""
        reset_memories(self.network)
        logits: Tensor = self.network(images)
        return logits


def stateless(model: nn.Module) -> nn.Module:
    """The network as a victim: equal images get equal logits.

    SpikingJelly's neurons keep their voltages from one call to the next, so that a network which
    does not reset them itself answers differently each time.

    Args:
        model: A classifier of images, shape (B, C, H, W).

    Returns:
        A module around `model` that resets it before each forward pass; `model` itself if nothing
        in it remembers. Modules, weights and modes are shared.
    """
    if isinstance(model, _Stateless) or not any(_remembers(m) for m in model.modules()):
        return model
    return _Stateless(model)
