"""The optimiser's settings, which every strategy shares."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from pipeline.config_types import Count, NonNegative, Positive, Unit


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """SGD; the defaults are the paper's for CIFAR-10 and CIFAR-100 (Table 5, Appendix D)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: Count = 200
    batch_size: Count = 64
    """The paper's; its code's default is 32, and 24 for event data."""
    learning_rate: Positive = 0.1
    momentum: Unit = 0.9
    weight_decay: NonNegative = 5e-4
    """On all parameters, biases and batch norm included, as in the released code."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine` falls to 0 over the epochs, one value per epoch."""
    augmentation: Literal["none", "crop", "crop_flip"] = "crop_flip"
    """`crop_flip`: random crop with 4 pixels of zero padding, and horizontal flip."""
    precision: Literal["fp32", "tf32"] = "fp32"
    """Of matrix products and convolutions on GPUs; verdicts are always judged in fp32."""
