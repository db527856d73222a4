"""Layers whose results do not depend on the order in which anything is summed.

Sums are of integers (`models.digits`). Everything else works element by element, in operations
that IEEE 754 rounds once: a product, then a sum, never the two fused, where the product is not
exact by itself.
"""

# Shapes: N samples (or T * B), C channels, H height, W width, F features, O outputs, D digits.

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.digits import LARGEST_DIGIT, InexactError, digits

BASE = 256
"""Inputs of more than `LARGEST_DIGIT` levels are split into digits of this base."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What values a tensor may hold: k * unit for whole k from 0 to `levels`."""

    levels: int
    unit: float = 1.0
    """A power of two."""
    divisor: float = 1.0
    """The tensor holds the values that are meant times this; the next layer's weights undo it."""


SPIKES = Grid(levels=1)


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """What is proven of a layer's sums."""

    layer: str
    levels: int
    """Inputs, or their digits, are whole numbers from 0 to this one."""
    num_digits: int
    """Of the weights."""
    num_products: int
    """Convolutions or matrix products in place of one."""
    load: int
    """Largest partial sum possible; below 2**24."""
    error: float
    """Largest error of a weight, as a share of its output's largest weight."""


@contextmanager
def plain_sums() -> Iterator[None]:
    """Keep to convolutions that add up products of inputs and weights, in whatever order.

    Winograd's and Fourier's methods add up other numbers, which are no integers. cuDNN and NNPACK
    may choose them; what torch takes instead are oneDNN's direct method, or matrix products.
    """
    with (
        torch.backends.cudnn.flags(enabled=False),
        torch.backends.nnpack.flags(enabled=False),
    ):
        yield


class ExactSums(nn.Module):
    """A convolution or a linear layer: sums of digits, scaled and added up element by element."""

    def __init__(
        self,
        layer: nn.Conv2d | nn.Linear,
        weight: Tensor,
        shift: Tensor,
        grid: Grid,
        name: str,
    ) -> None:
        """Split the weights and prove the bound.

        Args:
            layer: Which sums; its stride, padding and so on.
            weight: In its place, float64, for inputs as they are meant.
            shift: Added to the sums, float64, shape (O,), or (O, H, W) of the outputs.
            grid: What the inputs hold.
            name: Of the layer, for messages.

        Raises:
            InexactError: The bound cannot be met, or the layer is of a kind without a proof.
        """
        super().__init__()
        self.window: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        """Stride and padding of a convolution."""
        if isinstance(layer, nn.Conv2d):
            self.window = layer.stride, _padding(layer, name)
        self.num_parts = 1
        if grid.levels > LARGEST_DIGIT:
            if grid.unit != 1.0:
                raise InexactError(f"{name}: its inputs, multiples of {grid.unit}, go too far")
            self.num_parts = (grid.levels.bit_length() + 7) // 8
        levels = grid.levels if self.num_parts == 1 else BASE - 1
        found = digits(weight / grid.divisor, levels, name)
        trailing = (1, 1) if self.window else ()
        self.values: Tensor
        self.units: Tensor
        self.shift: Tensor
        self.register_buffer("values", _channels_last(found.values))
        # The digits' sums come in the inputs' own unit: k * unit, times the digit.
        self.register_buffer("units", found.units.unflatten(1, (-1, *trailing)).clone())
        self.register_buffer(
            "shift", shift.float().view(*shift.shape, *trailing[shift.dim() - 1 :])
        )
        self.sums_dtype = torch.float32
        self.report = LayerReport(
            layer=name,
            levels=levels,
            num_digits=len(found.values),
            num_products=len(found.values) * self.num_parts,
            load=found.load,
            error=found.error,
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (N, C, H, W) or (N, F), on the layer's grid, to the layer's outputs."""
        total: Tensor | None = None
        for number, part in enumerate(self._parts(inputs)):
            for values, units in zip(self.values, self.units, strict=True):
                # Both factors are exact: the unit is a power of two.
                term = self._sums(part, values).mul_(units * float(BASE**number))
                total = term if total is None else total.add_(term)
        assert total is not None
        return total.add_(self.shift)

    def _parts(self, inputs: Tensor) -> Iterator[Tensor]:
        """The inputs' digits, the last one first."""
        for _ in range(self.num_parts - 1):
            rest = (inputs * (1.0 / BASE)).floor()
            yield inputs - rest * BASE
            inputs = rest
        yield inputs

    def _sums(self, inputs: Tensor, values: Tensor) -> Tensor:
        """Sums of products, exact in float32: shape (N, O, ...)."""
        inputs, values = inputs.to(self.sums_dtype), values.to(self.sums_dtype)
        if self.window is None:
            return nn.functional.linear(inputs, values).float()
        return nn.functional.conv2d(inputs, values, None, *self.window).float()


def _channels_last(values: Tensor) -> Tensor:
    """The same numbers, in the layout that convolutions are fastest in: (D, O, C, ...)."""
    return values.movedim(2, -1).contiguous().movedim(-1, 2)


def _padding(conv: nn.Conv2d, name: str) -> tuple[int, ...]:
    plain = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    if not plain or isinstance(conv.padding, str):
        raise InexactError(f"{name}: expected a plain convolution padded with zeros, got {conv}")
    return conv.padding


class ExactNeurons(nn.Module):
    """The spikes of `models.dynamics.lif_step` over all time steps, from a voltage of 0.

    Each step is a product, a sum and a comparison; the reset chooses and rounds nothing.
    """

    def __init__(self, leak: float, threshold: float, num_timesteps: int) -> None:
        super().__init__()
        # As float32, so that no device has to round them its own way.
        self.leak, self.threshold = torch.tensor([leak, threshold]).float().tolist()
        self.num_timesteps = num_timesteps

    def forward(self, current: Tensor) -> Tensor:
        """Spikes shaped like `current`, (T * B, ...)."""
        drives = current.unflatten(0, (self.num_timesteps, -1))
        spikes = torch.empty_like(drives)
        voltage = torch.zeros_like(drives[0])
        for drive, fired in zip(drives, spikes, strict=True):
            if self.leak != 1.0:
                voltage.mul_(self.leak)
            voltage.add_(drive)
            above = voltage >= self.threshold
            fired.copy_(above)
            voltage.masked_fill_(above, 0.0)
        return spikes.flatten(0, 1)


class ExactScaling(nn.Module):
    """Batch norm by its running statistics: times a scale, plus a shift, channel by channel."""

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        """Round scale and shift, (C,) in float64, to float32 once."""
        super().__init__()
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", scale.float().view(-1, 1, 1))
        self.register_buffer("shift", shift.float().view(-1, 1, 1))

    def forward(self, values: Tensor) -> Tensor:
        """Shaped like the values, (N, C, H, W)."""
        return (values * self.scale).add_(self.shift)


class ExactPooling(nn.Module):
    """The sum over height and width; its division is left to the next layer's weights."""

    def forward(self, spikes: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C, 1, 1)."""
        return spikes.sum((2, 3), keepdim=True)


class ExactBlock(nn.Module):
    """`models.wide_resnet.Block`, the mixing weights within its convolutions' digits."""

    def __init__(
        self,
        *,
        norm: ExactScaling,
        neurons: ExactNeurons,
        first: ExactSums,
        between: ExactNeurons,
        second: ExactSums,
        shortcut: ExactSums | None,
        weight: float,
    ) -> None:
        """Put the parts together.

        Args:
            norm: Before the first neurons.
            neurons: The first ones.
            first: First convolution, batch norm included.
            between: The second neurons.
            second: Second convolution, its mixing weight included.
            shortcut: Convolution of the shortcut, its mixing weight included; None: the inputs.
            weight: Mixing weight of a shortcut that is the inputs themselves.
        """
        super().__init__()
        self.norm, self.neurons, self.first = norm, neurons, first
        self.between, self.second, self.shortcut = between, second, shortcut
        self.weight = weight

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (T * B, C, H, W) to (T * B, width, H / stride, W / stride)."""
        active = self.neurons(self.norm(inputs))
        residual: Tensor = self.second(self.between(self.first(active)))
        shortcut = inputs * self.weight if self.shortcut is None else self.shortcut(active)
        return residual.add_(shortcut)
