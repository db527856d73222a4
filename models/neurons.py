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
        """Whether gradients through time are compiled kernels; see `models.compile_layers`."""

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
