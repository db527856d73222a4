"""The shell that every architecture shares: normalise, encode, spike, average, classify."""

# Shapes: T time steps, B batch, C channels, H height, W width, F features, K classes.

from typing import Any

import torch
from torch import Tensor, nn

from models.config import InputSpec, ModelConfig
from models.encoding import ENCODINGS, direct


class Normalization(nn.Module):
    """(x - mean) / std per channel, as the first layer, so that attacks see pixels in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images, shape (B, C, H, W)."""
        return (images - self.mean) / self.std


class Scaled(nn.Module):
    """Event frames as shares of the training set's largest count; more is cut off."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, counts: Tensor) -> Tensor:
        """Frames in [0, 1]."""
        return (counts / self.scale).clamp(max=1.0)


class _Step(torch.autograd.Function):
    """1 from half an event on; gradient passed straight through."""

    @staticmethod
    def forward(ctx: Any, counts: Tensor) -> Tensor:
        return (counts >= 0.5).to(counts.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (grads[0],)


class Binary(nn.Module):
    """Event frames of zeros and ones: an event or none."""

    def forward(self, counts: Tensor) -> Tensor:
        """Zeros and ones."""
        frames: Tensor = _Step.apply(counts)  # type: ignore[no-untyped-call]
        return frames


def _first_layer(config: ModelConfig, spec: InputSpec) -> nn.Module:
    """Images are normalised; event frames become what `config.input` says."""
    if spec.frames:
        frames = {"counts": nn.Identity(), "scaled": Scaled(spec.scale), "binary": Binary()}
        return frames[config.input]
    # Poisson spikes need probabilities: the released code skips the normalisation there.
    if spec.mean is None or spec.std is None or config.encoding == "poisson":
        return nn.Identity()
    return Normalization(spec.mean, spec.std)


class SpikingClassifier(nn.Module):
    """A spiking network as a classifier of images in [0, 1].

    Logits are the mean over T of the last linear layer's output: there is no output neuron, as
    in the released code. The mean is taken before that layer, which is the same by linearity.
    """

    def __init__(
        self,
        config: ModelConfig,
        spec: InputSpec,
        features: nn.Sequential,
        head: nn.Linear,
        *,
        num_static: int,
    ) -> None:
        """Put the parts together.

        Args:
            config: What was asked for.
            spec: What the data decides.
            features: Maps (T * B, C, H, W) to spikes (T * B, F).
            head: Maps rates (B, F) to logits.
            num_static: Layers at the start of `features` that hold no neurons.
        """
        super().__init__()
        self.config, self.spec = config, spec
        self.num_timesteps = config.num_timesteps
        self.normalization = _first_layer(config, spec)
        self.encode = ENCODINGS["frames" if spec.frames else config.encoding]
        self.features = features
        self.head = head
        self._num_static = num_static

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images.

        Args:
            images: Shape (B, C, H, W), in [0, 1]; event frames (B, T, C, H, W).

        Returns:
            Logits, shape (B, K).
        """
        num_timesteps = self.num_timesteps
        inputs = self.normalization(images)
        # With the same image at every step, what comes before the first neurons is computed once.
        num_static = self._num_static if self.encode is direct else 0
        for index in range(num_static):
            inputs = _once(self.features[index], inputs, num_timesteps)
        spikes = self.features[num_static:](self.encode(inputs, num_timesteps))
        rates = spikes.unflatten(0, (num_timesteps, -1)).mean(0)
        logits: Tensor = self.head(rates)
        return logits


def _once(layer: nn.Module, inputs: Tensor, num_copies: int) -> Tensor:
    """What a layer makes of one of `num_copies` equal batches, computed for one.

    Batch norm in training: mean, variance and gradients of the copies are those of one. Its
    running variance alone knows how many values there were, by the factor n / (n - 1).
    """
    if not (isinstance(layer, nn.BatchNorm2d) and layer.training):
        outputs: Tensor = layer(inputs)
        return outputs
    variance, count = layer.running_var, layer.num_batches_tracked
    assert variance is not None
    assert count is not None
    before = variance.clone()
    outputs = layer(inputs)
    kept = 1.0 - (1.0 / count if layer.momentum is None else layer.momentum)
    size = inputs.numel() // inputs.shape[1]
    factor = num_copies * (size - 1) / (num_copies * size - 1)
    # By `.data`, as batch norm's own update goes unseen by autograd, which has saved the buffer.
    variance.data.add_(variance - kept * before, alpha=factor - 1.0)
    return outputs


def initialize(model: nn.Module) -> None:
    """Initial weights of the released code, in place.

    Convolutions Kaiming-normal (fan out, ReLU gain); batch norm 1 and 0; linear layers PyTorch's
    default with zero bias.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
