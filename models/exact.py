"""A network as a judge whose answer is the same, bit for bit, wherever it is computed.

`docs/exact.md` has the proof and what it covers.
"""

# Shapes: T time steps, B batch, C channels, H height, W width, O outputs, K classes.

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from models.digits import InexactError
from models.encoding import direct
from models.exact_input import grid_input
from models.exact_layers import (
    SPIKES,
    ExactBlock,
    ExactNeurons,
    ExactPooling,
    ExactScaling,
    ExactSums,
    Grid,
    LayerReport,
    plain_sums,
)
from models.network import Normalization, SpikingClassifier
from models.neurons import SpikingNeurons
from models.wide_resnet import Block


class ExactClassifier(nn.Module):
    """A network's weights, and a forward pass that depends on no order of summation.

    It is there to judge: it has no parameters and no gradient. Inputs are put on their grid first.
    """

    def __init__(
        self, model: SpikingClassifier, features: nn.Sequential, head: ExactSums, rates: Grid
    ) -> None:
        """Put the parts together.

        Args:
            model: Whose weights they are.
            features: Its layers' twins, in the same places.
            head: Its last layer's.
            rates: What the sums over time hold that go into it.
        """
        super().__init__()
        self.config, self.spec = model.config, model.spec
        self.grid_input = grid_input(model)
        self.features, self.head = features, head
        self._num_timesteps, self._encode = model.num_timesteps, model.encode
        self._num_static = model._num_static if model.encode is direct else 0
        self._per_unit = 1.0 / rates.unit

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Logits in float32, shape (B, K).

        Args:
            inputs: Images, shape (B, C, H, W), in [0, 1]; event frames, (B, T, C, H, W).

        Raises:
            InexactError: An input lies outside the grid.
        """
        with plain_sums():
            values = self.grid_input(inputs)
            values = self.features[: self._num_static](values)
            values = self.features[self._num_static :](self._encode(values, self._num_timesteps))
            sums = values.unflatten(0, (self._num_timesteps, -1)).sum(0) * self._per_unit
            logits: Tensor = self.head(sums)
        return logits

    @property
    def steps(self) -> int:
        """Of the inputs' grid, from 0 to 1."""
        return self.grid_input.steps

    @property
    def report(self) -> tuple[LayerReport, ...]:
        """What is proven of each layer, in the network's order."""
        return tuple(layer.report for layer in self._sums())

    def compute_sums_in(self, dtype: torch.dtype) -> None:
        """Have the digits' sums computed in float64 instead of float32: it must change nothing."""
        for layer in self._sums():
            layer.sums_dtype = dtype

    def _sums(self) -> list[ExactSums]:
        return [layer for layer in self.modules() if isinstance(layer, ExactSums)]


def exact(model: SpikingClassifier) -> ExactClassifier:
    """A judge with the weights of a network, as in evaluation mode, on the CPU.

    Args:
        model: From `build_model`; it stays as it is.

    Raises:
        InexactError: The network is random; or of a layer, which is named, the bound of its sums
            cannot be met.
    """
    if model.config.randomised:
        raise InexactError(
            "a network with Poisson coding draws its inputs at random: it cannot be judged exactly"
        )
    with torch.no_grad():
        return _Twins(model).classifier()


@dataclass(frozen=True)
class _Affine:
    """values * scale + shift, channel by channel, in float64."""

    scale: Tensor
    shift: Tensor


def _affine(norm: nn.BatchNorm2d) -> _Affine:
    """Batch norm by its running statistics; each operation is rounded as IEEE 754 says."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    weight, bias = _double(norm.weight), _double(norm.bias)
    scale = weight / (_double(variance) + norm.eps).sqrt()
    return _Affine(scale, bias - _double(mean) * scale)


def _double(values: Tensor) -> Tensor:
    return values.detach().to("cpu", torch.float64)


class _Twins:
    """Builds the exact twin of a network, layer by layer, and follows what its tensors hold."""

    def __init__(self, model: SpikingClassifier) -> None:
        self._model = model
        self._names: dict[nn.Module, str] = {layer: name for name, layer in model.named_modules()}
        self._areas = _areas(model)
        self._grid: Grid | None = grid_input(model).grid
        self._pending = model.normalization

    def classifier(self) -> ExactClassifier:
        model = self._model
        features = self._sequence(list(model.features))
        rates = self._known(model.head)
        steps = model.num_timesteps
        self._grid = Grid(
            levels=rates.levels * steps,
            divisor=rates.divisor * steps / rates.unit,
        )
        head = self._linear(model.head)
        return ExactClassifier(model, nn.Sequential(*features), head, rates)

    def _sequence(self, layers: list[nn.Module]) -> list[nn.Module]:
        """The twins; a batch norm behind a convolution becomes part of it, and nothing itself."""
        twins: list[nn.Module] = []
        for layer, after in zip(layers, [*layers[1:], None], strict=True):
            before = twins[-1] if twins else None
            if isinstance(layer, nn.Conv2d):
                norm = after if isinstance(after, nn.BatchNorm2d) else None
                twins.append(self._convolution(layer, norm))
            elif isinstance(layer, nn.BatchNorm2d) and isinstance(before, ExactSums):
                twins.append(nn.Identity())
            else:
                twins.append(self._other(layer))
        return twins

    def _other(self, layer: nn.Module) -> nn.Module:
        if isinstance(self._pending, Normalization):
            raise InexactError(
                f"{self._name(layer)}: the images' normalisation has an exact twin in front of a "
                f"convolution alone, got {type(layer).__name__}; begin with a convolution"
            )
        if isinstance(layer, SpikingNeurons):
            return self._neurons(layer)
        if isinstance(layer, nn.BatchNorm2d):
            return self._scaling(layer)
        if isinstance(layer, nn.Linear):
            return self._linear(layer)
        if isinstance(layer, Block):
            return self._block(layer)
        if isinstance(layer, nn.AvgPool2d):
            return self._average(layer)
        if isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)):
            return self._global_average(layer)
        if isinstance(layer, nn.Flatten):
            return layer
        raise InexactError(f"{self._name(layer)}: there is no exact {type(layer).__name__}")

    def _name(self, layer: nn.Module) -> str:
        return self._names.get(layer, type(layer).__name__)

    def _known(self, layer: nn.Module) -> Grid:
        if self._grid is None:
            raise InexactError(f"{self._name(layer)}: its inputs are not on a known grid")
        return self._grid

    def _convolution(
        self, conv: nn.Conv2d, norm: nn.BatchNorm2d | None = None, factor: float = 1.0
    ) -> ExactSums:
        """A convolution, the normalisation before it, the batch norm and a factor after it."""
        weight = _double(conv.weight) * factor
        shift = torch.zeros(len(weight), dtype=torch.float64)
        if conv.bias is not None:
            shift = _double(conv.bias) * factor
        if norm is not None:
            affine = _affine(norm)
            weight = weight * affine.scale.view(-1, 1, 1, 1)
            shift = shift * affine.scale + affine.shift
        if isinstance(self._pending, Normalization):
            mean, std = (_double(v).flatten() for v in (self._pending.mean, self._pending.std))
            weight = weight / std.view(-1, 1, 1)
            shift = shift.view(-1, 1, 1) - _sum_of_means(conv, weight, mean, self._model)
        self._pending = nn.Identity()
        grid, self._grid = self._known(conv), None
        return ExactSums(conv, weight, shift, grid, self._name(conv))

    def _linear(self, layer: nn.Linear) -> ExactSums:
        grid, self._grid = self._known(layer), None
        weight = _double(layer.weight)
        shift = weight.new_zeros(len(weight)) if layer.bias is None else _double(layer.bias)
        return ExactSums(layer, weight, shift, grid, self._name(layer))

    def _neurons(self, layer: SpikingNeurons) -> ExactNeurons:
        self._grid = SPIKES
        return ExactNeurons(layer.leak, layer.threshold, layer.num_timesteps)

    def _scaling(self, norm: nn.BatchNorm2d) -> ExactScaling:
        self._grid = None
        affine = _affine(norm)
        return ExactScaling(affine.scale, affine.shift)

    def _average(self, pool: nn.AvgPool2d) -> nn.AvgPool2d:
        grid = self._known(pool)
        size = pool.kernel_size
        area = size * size if isinstance(size, int) else math.prod(size)
        ragged = pool.padding not in (0, (0, 0)) or pool.ceil_mode or pool.divisor_override
        if ragged or area & (area - 1):
            raise InexactError(
                f"{self._name(pool)}: the mean of {area} values is on no grid; expected whole "
                "windows of a power of two"
            )
        self._grid = replace(grid, levels=grid.levels * area, unit=grid.unit / area)
        return pool

    def _global_average(self, pool: nn.AdaptiveAvgPool2d) -> ExactPooling:
        grid, area = self._known(pool), self._areas[pool]
        self._grid = replace(grid, levels=grid.levels * area, divisor=grid.divisor * area)
        return ExactPooling()

    def _block(self, block: Block) -> ExactBlock:
        kept, added = block.combination.weights.tolist()
        norm = self._scaling(block.norm1)
        neurons = self._neurons(block.neurons1)
        shortcut = None
        if block.shortcut is not None:
            shortcut = self._convolution(block.shortcut, factor=kept)
            self._grid = SPIKES
        first = self._convolution(block.conv1, block.norm2)
        between = self._neurons(block.neurons2)
        second = self._convolution(block.conv2, factor=added)
        return ExactBlock(
            norm=norm,
            neurons=neurons,
            first=first,
            between=between,
            second=second,
            shortcut=shortcut,
            weight=kept,
        )


def _areas(model: SpikingClassifier) -> dict[nn.Module, int]:
    """Height times width of what goes into each global average, found by a forward pass."""
    areas: dict[nn.Module, int] = {}

    def note(pool: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        areas[pool] = inputs[0].shape[-2] * inputs[0].shape[-1]

    pools = [layer for layer in model.modules() if isinstance(layer, nn.AdaptiveAvgPool2d)]
    if not pools:
        return areas
    spec, weight = model.spec, model.head.weight
    steps = (model.num_timesteps,) if spec.frames else ()
    shape = (*steps, spec.channels, spec.height, spec.width)
    handles: list[Any] = [pool.register_forward_pre_hook(note) for pool in pools]
    modes = {layer: layer.training for layer in model.modules()}
    try:
        model.eval()
        model(torch.zeros(1, *shape, dtype=weight.dtype, device=weight.device))
    finally:
        for handle in handles:
            handle.remove()
        for layer, mode in modes.items():
            layer.training = mode
    return areas


def _sum_of_means(
    conv: nn.Conv2d, weight: Tensor, mean: Tensor, model: SpikingClassifier
) -> Tensor:
    """What the normalisation's means take from each output, (O, H, W) in float64.

    Convolutions pad the normalised image with zeros, so that an output at the border sees the
    means of fewer pixels. The sum is taken in one fixed order, element by element.
    """
    down, right = conv.stride
    up, left = (int(side) for side in conv.padding)
    height, width = model.spec.height, model.spec.width
    high, wide = weight.shape[2:]
    inside = torch.zeros(height + 2 * up, width + 2 * left, dtype=torch.float64)
    inside[up : up + height, left : left + width] = 1.0
    rows = (inside.shape[0] - high) // down + 1
    columns = (inside.shape[1] - wide) // right + 1
    total = torch.zeros(len(weight), rows, columns, dtype=torch.float64)
    for y in range(high):
        for x in range(wide):
            seen = inside[y : y + down * rows : down, x : x + right * columns : right]
            for channel, value in enumerate(mean.tolist()):
                taken = weight[:, channel, y, x] * value
                total = total + taken.view(-1, 1, 1) * seen
    return total
