"""What an exact network is given: images or event frames, put on a grid of whole steps."""

import math

import torch
from torch import Tensor, nn

from models.digits import InexactError
from models.exact_layers import SPIKES, Grid
from models.network import SpikingClassifier

LEVELS = 2**16 - 1
"""An input is one of this many steps, or 0."""
IMAGE_STEPS = LEVELS
"""Steps from 0 to 1 of an image: a pixel k / 255 of 8 bits is step 257 * k, exactly."""
FRAME_STEPS = 2**8
"""Steps from 0 to 1 of event frames, which hold counts: they reach up to 255.99."""


def on_grid(inputs: Tensor, steps: int) -> Tensor:
    """The nearest point of the grid, in whole steps: float32, shaped like the inputs.

    Raises:
        InexactError: An input is below 0, or more than `LEVELS` steps, or NaN.
    """
    found = (inputs * steps).round().float()
    if not bool(((found >= 0) & (found <= LEVELS)).all()):
        raise InexactError(
            f"an exact network takes inputs from 0 to {LEVELS / steps:g}, "
            f"got {float(inputs.min()):g} to {float(inputs.max()):g}"
        )
    return found


class GridInput(nn.Module):
    """Puts inputs on the grid; of event frames, makes what the network's first layer does.

    - images, and frames that are `counts`: whole steps.
    - `scaled`: counts above `scale` are cut off; the division is left to the next layer's weights.
    - `binary`: 1 from half an event on.
    """

    def __init__(self, *, frames: bool, form: str = "counts", scale: float = 1.0) -> None:
        """Choose grid and form.

        Args:
            frames: Whether the inputs are event frames.
            form: Of frames: `counts`, `scaled` or `binary`.
            scale: Of `scaled`, the count that becomes 1.
        """
        super().__init__()
        self.steps = FRAME_STEPS if frames else IMAGE_STEPS
        self.form = form if frames else "counts"
        self._most = (
            LEVELS if self.form != "scaled" else min(math.floor(scale * self.steps), LEVELS)
        )
        self._divisor = self.steps * scale if self.form == "scaled" else float(self.steps)

    @property
    def grid(self) -> Grid:
        """What comes out of it."""
        if self.form == "binary":
            return SPIKES
        return Grid(levels=self._most, divisor=self._divisor)

    def forward(self, inputs: Tensor) -> Tensor:
        """Shaped like the inputs.

        Raises:
            InexactError: An input lies outside the grid.
        """
        values = on_grid(inputs, self.steps)
        if self.form == "binary":
            return (values >= self.steps // 2).to(torch.float32)
        return values.clamp(max=float(self._most))


def grid_input(model: SpikingClassifier) -> GridInput:
    """The exact form of what a network's first layer makes of its inputs."""
    config, spec = model.config, model.spec
    return GridInput(
        frames=spec.frames,
        form=getattr(config, "input", "counts"),
        scale=getattr(spec, "scale", 1.0),
    )
