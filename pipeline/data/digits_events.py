"""Digits before a simulated event camera: event data without a download, trained in minutes."""

# Shapes: K camera positions, H height, W width.
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import affine_grid, grid_sample, interpolate

from pipeline.config_types import Count, CountOrZero
from pipeline.data.event_dataset import EventSource
from pipeline.data.event_frames import DamagedRecordingError, Events, FramesConfig
from pipeline.data.splits import drawn_test, drawn_validation

SENSOR = (16, 16)
_VERSION = 1
"""Of the simulation; raise it with any change of the events that come out."""
_STEPS, _STEP_US = 48, 2000
"""Camera positions of a recording, and microseconds from one to the next."""
_REACH = 2.0
"""How far the camera moves from its middle, in pixels of the sensor."""
_THRESHOLD, _DARK = 0.35, 0.1
"""Change of log(intensity + dark) that makes an event, and the light of a black pixel."""
_CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class DigitsEventsConfig:
    """scikit-learn's 1,797 digits, moved in a triangle before a simulated camera of 16x16 pixels.

    As N-MNIST was recorded, but computed: for trying things out, not for conclusions.
    """

    __pydantic_config__ = {"extra": "forbid"}

    dataset: Literal["digits_events"] = "digits_events"
    frames: FramesConfig
    """How events become frames."""
    num_train: Count | None = None
    """Training samples; null takes all that are left."""
    num_validation: Count = 300
    """Drawn from what the test split leaves."""
    num_test: Count = 397
    """Drawn first, of all recordings."""
    split_seed: CountOrZero = 0
    """Draws the splits; another number gives other ones."""

    def identity(self) -> dict[str, Any]:
        """All that decides which frames come out, as JSON can hold it."""
        return {**asdict(self), "frames": self.frames.identity(), "version": _VERSION}


@dataclass(frozen=True)
class SimulatedRecordings:
    """Recordings of images, made when they are read; see `event_dataset.Recordings`."""

    images: NDArray[np.float64]
    """Intensities in [0, 1], shape (N, 8, 8)."""
    numbers: NDArray[np.int64]
    """What each is called in messages, shape (N,)."""

    def chunks(self, positions: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """A few at a time."""
        yield from np.split(positions, range(_CHUNK, len(positions), _CHUNK))

    def part(self, positions: NDArray[np.int64]) -> "SimulatedRecordings":
        """The recordings at these positions."""
        return SimulatedRecordings(self.images[positions], self.numbers[positions])

    def read(self) -> Iterator[Events | DamagedRecordingError]:
        """Each recording."""
        yield from recorded(self.images, [f"digit {number}" for number in self.numbers])


def path_of_camera() -> NDArray[np.float64]:
    """Positions (x, y) in pixels of the sensor, shape (K+1, 2): a triangle, back to its start."""
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [0.0, 1.0], [-1.0, -1.0]]) * _REACH
    at = np.linspace(0.0, 3.0, _STEPS + 1)
    return np.stack([np.interp(at, np.arange(4), corners[:, axis]) for axis in (0, 1)], axis=1)


def views(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the camera sees on its way, shape (N, K+1, 16, 16), of images (N, 8, 8)."""
    positions = torch.from_numpy(path_of_camera())
    # A shift by one pixel is 2 / size in the coordinates of grid_sample.
    turns = torch.zeros(len(positions), 2, 3, dtype=torch.float64)
    turns[:, 0, 0] = turns[:, 1, 1] = 1.0
    turns[:, :, 2] = positions * torch.tensor([2.0 / SENSOR[1], 2.0 / SENSOR[0]])
    grid = affine_grid(turns, [len(positions), 1, *SENSOR], align_corners=False)
    pictures = torch.from_numpy(np.asarray(images, dtype=np.float64))[None]
    large = interpolate(pictures, SENSOR, mode="bilinear", align_corners=False)
    seen = grid_sample(large.expand(len(positions), -1, -1, -1), grid, align_corners=False)
    return seen.transpose(0, 1).numpy()


def recorded(images: NDArray[np.float64], names: Sequence[str]) -> Iterator[Events]:
    """Events of images (N, 8, 8) in [0, 1] while the camera moves.

    A pixel fires each time its log intensity has moved by the threshold since its last event
    (the usual model of an event camera; Gallego et al., 2020, Sec. 2.4), without noise.
    """
    light = np.log(views(images) + _DARK)
    reference = light[:, 0].copy()
    steps = []
    for step in range(1, light.shape[1]):
        change = light[:, step] - reference
        # A little more, so that the last digit of a logarithm decides nothing.
        count = np.floor(np.abs(change) / _THRESHOLD + 1e-9).astype(np.int64)
        reference += np.sign(change) * count * _THRESHOLD
        image, y, x = np.nonzero(count)
        p = (change[image, y, x] > 0).astype(np.int64)
        t = np.full(len(x), (step - 1) * _STEP_US)
        steps.append(np.repeat(np.stack([image, x, y, p, t]), count[image, y, x], axis=1))
    image, x, y, p, t = np.concatenate(steps, axis=1)
    for number, name in enumerate(names):
        own = image == number
        yield Events(name, x[own], y[own], p[own], t[own])


def digits_events_source(config: DigitsEventsConfig) -> EventSource:
    """The recordings and their splits, drawn as the `digits` data set's; makes no event."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    labels = bunch.target.astype(np.int64)
    rest, test = drawn_test(labels, config.num_test, config.split_seed)
    train, validation = drawn_validation(
        labels[rest], config.num_validation, config.num_train, config.split_seed
    )
    source = SimulatedRecordings(bunch.images / 16.0, np.arange(len(labels)))
    positions = {"train": rest[train], "validation": rest[validation], "test": test}
    return EventSource(
        name="digits_events",
        what="digits_events: scikit-learn's digits before a simulated event camera",
        recordings={name: (source, chosen) for name, chosen in positions.items()},
        labels={name: labels[chosen] for name, chosen in positions.items()},
        num_classes=10,
        sensor=SENSOR,
        frames=config.frames,
        damaged="refuse",
        content=config.identity(),
    )
