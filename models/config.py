"""What decides a network: plain frozen dataclasses, checked when they are made."""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

SurrogateName = Literal[
    "triangle",
    "sigmoid",
    "arctangent",
    "rectangular",
    "exponential",
    "damped_exponential",
    "straight_through",
]
EstimatorMethod = Literal["own", "stbp", "rga", "bptr", "hart", "pdsg", "assg", "relu"]

DEFAULT_WIDTH: dict[str, float] = {
    "triangle": 1.0,
    "sigmoid": 4.0,
    "arctangent": 2.0,
    "rectangular": 1.0,
    "exponential": 1.0,
    "damped_exponential": 1.0,
    "straight_through": 1.0,
    "hart": 1.0,
    "assg": 0.425,
}
"""Width of each surrogate, or of a method that has one, in its authors' code; the paper's three
are Eqs. (33) to (35) of Appendix E."""


MAX_WIDTH = 4096
"""Of a layer; two such convolutions in a row take 0.6 GB."""


class FieldError(ValueError):
    """A value outside its range; `field` names it, so that a reader of YAML can point at it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)  # what it is made of again in another process
        self.field = field

    def __str__(self) -> str:
        return str(self.args[1])


@dataclass(frozen=True, kw_only=True)
class GradientEstimator:
    """How the step function of a neuron is differentiated.

    - `own`: as in the network's own training.
    - `stbp`: backpropagation through time with a surrogate derivative.
    - `rga` (Bu et al., 2023), `bptr` (Ding et al., 2022): derivatives of firing rates.
    - `hart` (Hao et al., 2024): a triangle without the temporal chain, averaged over time.
    - `pdsg` (Lun et al., 2025): a Gaussian as wide as the membrane potentials spread.
    - `assg` (Wang et al., 2026): an arctangent whose width adapts to each neuron as the attack goes
      on; `width` is half the area it keeps within the spread, in (0, 0.5).
    - `relu`: the network with ReLUs in place of its neurons; the logits are the network's own.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: EstimatorMethod = "stbp"
    """As listed above."""
    surrogate: SurrogateName = "triangle"
    """Of `stbp` alone."""
    width: float | None = None
    """Width parameter gamma of the surrogate, of `hart` or of `assg`; omitted, the authors'."""

    def __post_init__(self) -> None:
        if self.width is not None and not 0 < self.width < float("inf"):
            raise FieldError("width", f"expected a width above 0, got {self.width}")
        if self.method != "stbp" and self.surrogate != "triangle":
            raise FieldError(
                "surrogate", f"{self.method} takes no surrogate: remove it, or use stbp"
            )
        widthless = self._kind not in DEFAULT_WIDTH or self._kind == "straight_through"
        if self.width is not None and widthless:
            raise FieldError("width", f"{self._kind} takes no width: remove it")
        if self.method == "assg" and self.gamma >= 0.5:
            raise FieldError("width", f"expected a width between 0 and 0.5, got {self.width}")

    @property
    def _kind(self) -> str:
        """The surrogate where one is used, else the method."""
        return self.surrogate if self.method == "stbp" else self.method

    @property
    def gamma(self) -> float:
        """The width in force."""
        return DEFAULT_WIDTH.get(self._kind, 1.0) if self.width is None else self.width

    def identity(self) -> dict[str, object]:
        """What counts when hashed: a width that is the default may be written or not."""
        return {"method": self.method, "surrogate": self.surrogate, "width": self.gamma}

    @property
    def label(self) -> str:
        """Speaking name: `rga`, `triangle`, `triangle-0.5`."""
        default = self.gamma == DEFAULT_WIDTH.get(self._kind, 1.0)
        return self._kind if default else f"{self._kind}-{self.gamma:g}"


@dataclass(frozen=True, kw_only=True)
class NeuronConfig:
    """Integrate-and-fire neuron with hard reset to 0."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    leak: float = 1.0
    """Fraction of the voltage kept from one time step to the next; 1 is the paper's IF neuron."""
    threshold: float = 1.0
    """Firing threshold, in the unit of the membrane voltage."""
    surrogate: SurrogateName = "triangle"
    """Surrogate derivative used in training."""
    width: float | None = None
    """Its width; omitted, the released code's."""

    def __post_init__(self) -> None:
        if not 0 <= self.leak <= 1:
            raise FieldError("leak", f"expected a leak from 0 to 1, got {self.leak}")
        if not 0 < self.threshold < float("inf"):
            raise FieldError("threshold", f"expected a threshold above 0, got {self.threshold}")
        if self.width is not None and not 0 < self.width < float("inf"):
            raise FieldError("width", f"expected a width above 0, got {self.width}")

    @property
    def estimator(self) -> GradientEstimator:
        """The gradient estimator of training."""
        return GradientEstimator(surrogate=self.surrogate, width=self.width)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A spiking network, apart from what the data set decides."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    architecture: Literal["small", "vgg11", "wrn16_4"]
    """`small` for images of 8x8 to 32x32, in minutes on a CPU; VGG-11 and WRN-16-4 as in the
    paper."""
    num_timesteps: int = 8
    """T. The paper: 8 for images, 10 for CIFAR10-DVS."""
    encoding: Literal["direct", "poisson"] = "direct"
    """How an image becomes T inputs; event frames are used as they are."""
    neuron: NeuronConfig = NeuronConfig()
    """The same for all layers."""
    input: Literal["counts", "scaled", "binary"] = "counts"
    """What the first layer makes of event frames: `counts` leaves them as they are, `scaled`
    divides by the training set's largest count (more is cut off), `binary` asks for an event or
    none. Images have their normalisation in its place."""
    channels: tuple[int, int, int] = (16, 32, 32)
    """Widths of the `small` network's convolutions; the other architectures have their own."""

    def __post_init__(self) -> None:
        if isinstance(self.num_timesteps, bool) or not 1 <= self.num_timesteps <= 1000:
            raise FieldError("num_timesteps", f"expected 1 to 1000, got {self.num_timesteps}")
        if not 1 <= min(self.channels) <= max(self.channels) <= MAX_WIDTH:
            raise FieldError(
                "channels", f"expected three widths from 1 to {MAX_WIDTH}, got {self.channels}"
            )
        if self.architecture != "small" and self.channels != (16, 32, 32):
            raise FieldError("channels", f"{self.architecture} has its own widths: remove this key")

    def identity(self) -> dict[str, object]:
        """What counts when hashed; frames used as they are need not be mentioned."""
        values: dict[str, object] = {item.name: getattr(self, item.name) for item in fields(self)}
        if self.input == "counts":
            del values["input"]
        return values

    @property
    def randomised(self) -> bool:
        """Whether the network's answers are random draws."""
        return self.encoding == "poisson"


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What the data set decides about a network."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    channels: int
    height: int
    width: int
    num_classes: int
    mean: tuple[float, ...] | None = None
    """Per channel, in [0, 1]; None leaves the input as it is (event frames)."""
    std: tuple[float, ...] | None = None
    frames: bool = False
    """True if samples are (B, T, C, H, W) event frames instead of (B, C, H, W) images."""
    scale: float = 1.0
    """Of event frames: the training set's largest count."""
