"""A layer of spiking neurons over all time steps."""

# Shapes: T time steps, B batch, "..." any further dimensions.

from torch import Tensor, nn

from models.backward_rules import Adaptation, spike_trains
from models.config import NeuronConfig


class SpikingNeurons(nn.Module):
    """A layer of neurons; time is folded into the batch, (T * B, ...), time outermost.

    `estimator` is the one in force and `memory` what it remembers; only `models.oracle` changes
    them, and always puts them back.
    """

    def __init__(self, config: NeuronConfig, num_timesteps: int) -> None:
        super().__init__()
        self.leak, self.threshold = config.leak, config.threshold
        self.num_timesteps = num_timesteps
        self.estimator = config.estimator
        self.memory: Adaptation | None = None
        self.compiled = False
        """Whether gradients through time come from compiled kernels; see `compile_neurons`."""

    def forward(self, current: Tensor) -> Tensor:
        """Spikes shaped like `current`, (T * B, ...)."""
        folded = current.unflatten(0, (self.num_timesteps, -1))
        spikes = spike_trains(
            folded,
            self.estimator,
            leak=self.leak,
            threshold=self.threshold,
            memory=self.memory,
            compiled=self.compiled,
        )
        return spikes.flatten(0, 1)

    def extra_repr(self) -> str:
        """What `print(model)` shows of the layer."""
        return f"T={self.num_timesteps}, leak={self.leak:g}, threshold={self.threshold:g}"


def compile_neurons(model: nn.Module) -> None:
    """Have a network's neurons differentiate through time by compiled kernels from now on.

    They are compiled at their first use, in some ten seconds for each dtype. Spikes stay the same;
    gradients change by rounding. All else, the weights' names included, stays as it is.

    Args:
        model: A network of `SpikingNeurons`, on a device for which `torch.compile` has a compiler.
    """
    for layer in model.modules():
        if isinstance(layer, SpikingNeurons):
            layer.compiled = True
