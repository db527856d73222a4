"""From stored samples to what networks and attacks work on."""

from torch import Tensor


def network_input(samples: Tensor) -> Tensor:
    """Samples as a network takes them, float32.

    Args:
        samples: Images, uint8, shape (B, C, H, W), or event frames (B, T, C, H, W).

    Returns:
        Images in [0, 1]; the counts of event frames as they are.
    """
    return samples.float() if samples.dim() == 5 else samples.float() / 255
