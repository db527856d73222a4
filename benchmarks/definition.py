"""A network by its definition: what every fast path has to compute."""

# Shapes: T time steps, B batch, C channels, H height, W width, K classes.

import copy

import torch
from torch import Tensor, nn

from benchmarks.networks import replaced
from models import SpikingClassifier
from models.dynamics import lif_step
from models.encoding import direct
from models.neurons import SpikingNeurons
from models.surrogates import SURROGATES


class PlainNeurons(nn.Module):
    """The plain loop over T that defines `SpikingNeurons`."""

    def __init__(self, neurons: SpikingNeurons) -> None:
        super().__init__()
        self.neurons = neurons

    def forward(self, current: Tensor) -> Tensor:
        """Spikes, shaped like `current`, (T * B, ...)."""
        neurons = self.neurons
        voltage, spikes = torch.zeros((), device=current.device), []
        for drive in current.unflatten(0, (neurons.num_timesteps, -1)):
            fired, voltage = lif_step(
                drive,
                voltage,
                leak=neurons.leak,
                threshold=neurons.threshold,
                surrogate=SURROGATES[neurons.estimator.surrogate],
                gamma=neurons.estimator.gamma,
            )
            spikes.append(fired)
        return torch.cat(spikes)


def _plain(name: str, layer: nn.Module) -> nn.Module:
    return PlainNeurons(layer) if isinstance(layer, SpikingNeurons) else _plain_norm(name, layer)


def _plain_norm(name: str, layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.BatchNorm2d):
        theirs = nn.BatchNorm2d(layer.num_features).to(layer.weight)
        theirs.load_state_dict(layer.state_dict())
        return theirs
    return layer


class PlainNetwork(nn.Module):
    """A network of which nothing is computed once for several time steps; a copy of the weights."""

    def __init__(self, model: SpikingClassifier, *, plain_neurons: bool) -> None:
        """Rebuild a network.

        Args:
            model: Of images, with direct coding.
            plain_neurons: False keeps our neurons, which know the rate gradients.
        """
        super().__init__()
        self.num_timesteps = model.num_timesteps
        network = copy.deepcopy(model)
        self.normalization, self.head = network.normalization, network.head
        self.features = network.features.to(memory_format=torch.contiguous_format)
        replaced(self.features, _plain if plain_neurons else _plain_norm)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (B, K), of images, shape (B, C, H, W)."""
        spikes = self.features(direct(self.normalization(images), self.num_timesteps))
        logits: Tensor = self.head(spikes).unflatten(0, (self.num_timesteps, -1)).mean(0)
        return logits
