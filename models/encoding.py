"""How inputs become T time steps, folded into the batch: (T * B, C, H, W), time outermost."""

from typing import Any

import torch
from torch import Tensor


def direct(images: Tensor, num_timesteps: int) -> Tensor:
    """Repeat the image (B, C, H, W) at every time step (direct coding, Sec. 3)."""
    return images.unsqueeze(0).expand(num_timesteps, *images.shape).flatten(0, 1)


class _PoissonSpikes(torch.autograd.Function):
    """Bernoulli draws with the pixel as probability; gradient passed straight through."""

    @staticmethod
    def forward(ctx: Any, intensity: Tensor) -> Tensor:
        return (intensity >= torch.rand_like(intensity)).to(intensity.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (grads[0],)


def poisson(images: Tensor, num_timesteps: int) -> Tensor:
    """Draw a spike per pixel and time step with the pixel's value as its probability.

    Fresh draws at every call, from torch's global generator. The gradient is the identity, as in
    the released code; pixels are not normalised before.
    """
    spikes: Tensor = _PoissonSpikes.apply(direct(images, num_timesteps))
    return spikes


def frames(samples: Tensor, num_timesteps: int) -> Tensor:
    """Use event frames, (B, T, C, H, W), as they are.

    Raises:
        ValueError: The samples have another number of time steps than the network.
    """
    if samples.dim() != 5 or samples.shape[1] != num_timesteps:
        raise ValueError(
            f"expected event frames (B, T={num_timesteps}, C, H, W), got {tuple(samples.shape)}"
        )
    return samples.transpose(0, 1).flatten(0, 1)


ENCODINGS = {"direct": direct, "poisson": poisson, "frames": frames}
