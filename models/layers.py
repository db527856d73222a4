"""PyTorch's layers, which cost less where they can: same names, weights and values to rounding."""

# Shapes: B batch, C channels in, K channels out, F features in, H height, W width.

import torch
from torch import Tensor, nn

from models.products import linear
from models.winograd import TILE, winograd_convolution

ENOUGH_CHANNELS = 128 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 64
"""Channels in and out from which on Winograd's convolution takes less time than the direct one.

Its share of the time, forward and backward (64 images, one core of an AMD EPYC): with AVX-512 1.0
for 64 channels of 32x32 pixels, 0.7 for 128 of 16x16 and 0.45 for 512 of 8x8; with AVX2 alone 0.6,
0.5 and 0.3."""


class BatchNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, in evaluation mode as the multiplication and addition that it is.

    PyTorch's own sums over the batch in every backward pass, for gradients of its weights that an
    attack on the images does not ask for.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalised inputs, shape (B, C, H, W)."""
        if self.training or self.running_mean is None or self.running_var is None:
            return super().forward(inputs)
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        shift = self.bias - self.running_mean * scale
        return torch.addcmul(shift.view(-1, 1, 1), inputs, scale.view(-1, 1, 1))


class Convolution(nn.Conv2d):
    """`torch.nn.Conv2d`; once `compiled`, wide 3x3 ones on a CPU are computed by `winograd`."""

    compiled = False

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, K, H', W')."""
        if self.compiled and self._suits(inputs):
            return winograd_convolution(inputs, self.weight, self.bias)
        return super().forward(inputs)

    def _suits(self, inputs: Tensor) -> bool:
        return (
            inputs.device.type == "cpu"
            and min(self.in_channels, self.out_channels) >= ENOUGH_CHANNELS
            and self.kernel_size == (3, 3)
            and self.stride == self.padding == self.dilation == (1, 1)
            and self.groups == 1
            and self.padding_mode == "zeros"
            and inputs.shape[2] % TILE == inputs.shape[3] % TILE == 0
        )


class Linear(nn.Linear):
    """`torch.nn.Linear`; once `compiled`, on a CPU by the faster of two libraries."""

    compiled = False

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (B, F) to (B, K)."""
        if self.compiled and inputs.device.type == "cpu":
            return linear(inputs, self.weight, self.bias)
        return super().forward(inputs)
