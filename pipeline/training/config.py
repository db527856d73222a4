"""The optimiser's settings, which every strategy shares."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pipeline.config_types import Count, NonNegative, Positive, Unit
from pipeline.fingerprint import fields_without_defaults


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """SGD; the defaults are the paper's for CIFAR-10 and CIFAR-100 (Table 5, Appendix D)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: Count = 200
    """Passes over the training samples."""
    batch_size: Count = 64
    """The paper's; its code's default is 32, and 24 for event data."""
    learning_rate: Positive = 0.1
    """Of the first epoch."""
    momentum: Unit = 0.9
    """Of SGD, without Nesterov's."""
    weight_decay: NonNegative = 5e-4
    """On all parameters, biases and batch norm included, as in the released code."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine` falls to 0 over the epochs, one value per epoch."""
    augmentation: Literal["none", "crop", "crop_flip", "nda"] = "crop_flip"
    """`crop_flip`: random crop with 4 pixels of zero padding, and horizontal flip. `nda`, for
    event frames: horizontal flip, then a roll, a rotation or a cutout."""
    precision: Literal["fp32", "tf32"] = "fp32"
    """Of matrix products and convolutions on GPUs; verdicts are always judged in fp32."""
    selection: Literal["last", "best_validation", "best_test"] = "last"
    """Which epoch's network is judged: the last, or the one of the best clean accuracy on a split.
    `best_test` is what the paper's code does; it chooses on the images that it reports on."""

    def identity(self) -> dict[str, Any]:
        """What counts when hashed; without a choice of epoch the setting counts for nothing."""
        return fields_without_defaults(self, "selection")
