"""The same network three times: ours, of SpikingJelly's layers, and with ReLUs for neurons."""

# Shapes: T time steps, B batch, C channels, H height, W width, K classes.

import copy
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models import InputSpec, ModelConfig, SpikingClassifier, build_model
from models.encoding import direct
from models.neurons import SpikingNeurons
from pipeline.data.torchvision_import import torchvision_datasets

CIFAR10 = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}


def ours(architecture: Any, num_timesteps: int, side: int) -> SpikingClassifier:
    """A network with random weights for ten classes of RGB images, in training mode."""
    torch.manual_seed(0)
    spec = InputSpec(channels=3, height=side, width=side, num_classes=10, **CIFAR10)
    return build_model(ModelConfig(architecture=architecture, num_timesteps=num_timesteps), spec)


def replaced(model: nn.Module, replacement: Callable[[str, nn.Module], nn.Module]) -> None:
    """Put `replacement(name, layer)` in the place of every layer that has no layers of its own."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if not list(child.children()):
                setattr(parent, name, replacement(name, child))


class SpikingJellyNetwork(nn.Module):
    """Our graph of SpikingJelly's multi-step layers, used as its documentation uses them.

    IFNode, hard reset to 0, not detached; sequences (T, B, ...), the image repeated at their
    start, the logits' mean over T at their end. The weights are a copy of ours.
    """

    def __init__(self, model: SpikingClassifier) -> None:
        super().__init__()
        self.num_timesteps = model.config.num_timesteps
        network = copy.deepcopy(model)
        self.normalization = network.normalization
        self.features, self.head = network.features, network.head
        replaced(self.features, _multi_step)
        # Their convolutions are documented and used in the default memory layout.
        self.to(memory_format=torch.contiguous_format)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (B, K), of images, shape (B, C, H, W)."""
        for layer in self.modules():
            if hasattr(layer, "reset"):
                layer.reset()
        sequence = self.normalization(images).unsqueeze(0).repeat(self.num_timesteps, 1, 1, 1, 1)
        logits: Tensor = self.head(self.features(sequence)).mean(0)
        return logits


def _multi_step(name: str, ours: nn.Module) -> nn.Module:
    """SpikingJelly's layer for one of ours, with its weights."""
    # Where torchvision's operators do not fit torch, this import has to come first.
    torchvision_datasets()
    from spikingjelly.activation_based import layer, neuron, surrogate

    theirs: nn.Module
    if isinstance(ours, SpikingNeurons):
        return neuron.IFNode(
            v_threshold=ours.threshold,
            v_reset=0.0,
            surrogate_function=surrogate.PiecewiseQuadratic(alpha=1 / ours.estimator.gamma),
            detach_reset=False,
            step_mode="m",
        )
    if isinstance(ours, nn.Conv2d):
        theirs = layer.Conv2d(
            ours.in_channels,
            ours.out_channels,
            ours.kernel_size,
            ours.stride,
            ours.padding,
            bias=ours.bias is not None,
            step_mode="m",
        )
    elif isinstance(ours, nn.BatchNorm2d):
        theirs = layer.BatchNorm2d(ours.num_features, step_mode="m")
    elif isinstance(ours, nn.AvgPool2d):
        theirs = layer.AvgPool2d(ours.kernel_size, step_mode="m")
    elif isinstance(ours, nn.AdaptiveAvgPool2d):
        theirs = layer.AdaptiveAvgPool2d(ours.output_size, step_mode="m")
    elif isinstance(ours, nn.Flatten):
        theirs = layer.Flatten(step_mode="m")
    else:
        # Linear layers take sequences as they are; so does the mixing of residual blocks.
        return ours
    theirs.load_state_dict(ours.state_dict())
    return theirs


class ReLULimit(nn.Module):
    """Our convolutions and linear layers with ReLUs in place of batch norm and neurons.

    What a dense network of the size costs at least: what the neurons add can only come on top.
    What precedes the second convolution is computed once for all time steps.
    """

    def __init__(self, model: SpikingClassifier, num_static: int) -> None:
        """Copy the model's layers.

        Args:
            model: Ours.
            num_static: Layers at the start of its features that need no time.
        """
        super().__init__()
        self.num_timesteps = model.config.num_timesteps
        network = copy.deepcopy(model)
        self.normalization = network.normalization
        self.features, self.head = network.features, network.head
        replaced(self.features, _without_time)
        self.num_static = num_static

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (B, K), of images, shape (B, C, H, W)."""
        static = self.features[: self.num_static](self.normalization(images))
        features = self.features[self.num_static :](direct(static, self.num_timesteps))
        logits: Tensor = self.head(features.unflatten(0, (self.num_timesteps, -1)).mean(0))
        return logits


def _without_time(name: str, layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.BatchNorm2d):
        return nn.Identity()
    if isinstance(layer, SpikingNeurons):
        # In place, but for what a residual block's shortcut takes in, too.
        return nn.ReLU(inplace=name != "neurons1")
    return layer


def networks(
    architecture: Any, num_timesteps: int, side: int, device: torch.device
) -> dict[str, nn.Module]:
    """The three networks on a device, by name; two where SpikingJelly is not installed.

    Raises:
        RuntimeError: SpikingJelly's network is not the same function as ours.
    """
    own = ours(architecture, num_timesteps, side)
    num_static = {"vgg11": 3, "wrn16_4": 1, "small": 3}[architecture]
    found: dict[str, nn.Module] = {"ours": own}
    if importlib.util.find_spec("spikingjelly") is not None:
        found["spikingjelly"] = SpikingJellyNetwork(own)
        _check(own, found["spikingjelly"], torch.rand(2, 3, side, side))
    found["relu"] = ReLULimit(own, num_static)
    return {name: network.to(device) for name, network in found.items()}


def _check(own: nn.Module, theirs: nn.Module, images: Tensor) -> None:
    """In float64, where no spike hangs on rounding; training statistics are put back."""
    answers = []
    for network in (own, theirs):
        twin = copy.deepcopy(network).double().train()
        answers.append(twin(images.double()).detach())
    if not torch.allclose(*answers, rtol=1e-9, atol=1e-9):
        raise RuntimeError("SpikingJelly's network differs from ours: nothing can be compared")
