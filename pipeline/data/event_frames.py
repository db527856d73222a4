"""Events of one recording to frames of counts: which events a frame holds, and at what size."""

# Shapes: N events, T frames, H height, W width; two polarities.
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from pipeline.config_types import Count
from pipeline.errors import ConfigError

FRAMES_VERSION = 1
"""Part of a cached file's name; raise it with any change of what comes out."""
MAX_EVENTS = 2**24
"""Of one recording. Real ones have up to millions; a small file can claim thousands of millions."""
EXACT_COUNTS = {"uint8": 255, "float16": 2048}
"""The largest number of events in a pixel up to which a type holds every count."""


class DamagedRecordingError(ConfigError):
    """A recording that cannot be used; the message names it and says why."""


@dataclass(frozen=True)
class Events:
    """One recording, in the order of the file."""

    name: str
    """Where it lies, for messages."""
    x: NDArray[Any]
    """Column, shape (N,), integers in 0..W-1."""
    y: NDArray[Any]
    """Row, shape (N,), integers in 0..H-1."""
    p: NDArray[Any]
    """Polarity, shape (N,), 0 or 1."""
    t: NDArray[Any]
    """Time, shape (N,), integers that never decrease; microseconds in all official files."""


@dataclass(frozen=True, kw_only=True)
class FramesConfig:
    """How the events of a recording become T frames, each a count of events by pixel."""

    __pydantic_config__ = {"extra": "forbid"}

    num_frames: Count
    """T, which is the network's `num_timesteps` as well."""
    split_by: Literal["count", "time"] = "count"
    """`count`: N // T events a frame, the last one takes the rest too (SpikingJelly's
    `split_by='number'`). `time`: (t_last - t_first) // T a frame, and what comes after the last
    of these is left out (tonic's `ToFrame(n_time_bins=T)`)."""
    size: tuple[Count, Count] | None = None
    """Height and width that frames are resized to; null keeps the sensor's."""
    interpolation: Literal["bilinear", "nearest"] = "bilinear"
    """How frames are resized."""
    antialias: bool = False
    """Whether bilinear resizing to a smaller size averages over all pixels. torchvision's default
    for tensors was false up to 0.16 and is true since 0.17."""
    orientation: Literal["recorded", "half_turn_swapped"] = "recorded"
    """`recorded`: x, y and p as the file has them (tonic). `half_turn_swapped`: x' = W-1-x,
    y' = H-1-y, p' = 1-p, which is how SpikingJelly decodes CIFAR10-DVS."""
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    """Of the cached frames. A count that the type cannot hold exactly, above 255 in uint8 and
    above 2048 in float16, is an error."""

    def __post_init__(self) -> None:
        if self.size is None and self.antialias:
            raise ValueError("antialias does nothing without size; give size, or remove antialias")
        if self.antialias and self.interpolation == "nearest":
            raise ValueError("antialias does nothing with interpolation: nearest; remove one")
        if self.size is not None and self.dtype == "uint8":
            raise ValueError("dtype: uint8 holds no resized counts; write float32 or float16")

    def identity(self) -> dict[str, Any]:
        """What decides the frames; without resizing, how to resize decides nothing."""
        own: dict[str, Any] = {
            "num_frames": self.num_frames,
            "split_by": self.split_by,
            "orientation": self.orientation,
            "dtype": self.dtype,
        }
        if self.size is not None:
            own |= {
                "size": list(self.size),
                "interpolation": self.interpolation,
                "antialias": self.antialias,
            }
        return own

    def shape(self, sensor: tuple[int, int]) -> tuple[int, int, int, int]:
        """Shape (T, 2, H, W) of a sample of this sensor, given as (H, W)."""
        return (self.num_frames, 2, *(self.size or sensor))


def checked(events: Events, sensor: tuple[int, int], config: FramesConfig) -> Events:
    """The events as int64, after everything that must hold of them was looked at.

    Args:
        events: As read.
        sensor: Height and width of the sensor, in pixels.
        config: How many frames they are to make.

    Raises:
        DamagedRecordingError: With the first thing that does not hold.
    """
    lengths = {field: len(getattr(events, field)) for field in "xypt"}
    if len(set(lengths.values())) > 1:
        raise _damaged(events, f"expected x, y, p and t of one length, got {lengths}")
    if lengths["t"] > MAX_EVENTS:
        raise _damaged(events, f"expected at most {MAX_EVENTS:,} events, got {lengths['t']:,}")
    columns = {field: np.asarray(getattr(events, field)).astype(np.int64) for field in "xypt"}
    for field, limit in (("x", sensor[1]), ("y", sensor[0]), ("p", 2)):
        values = columns[field]
        outside = np.flatnonzero((values < 0) | (values >= limit))
        if len(outside):
            raise _damaged(
                events,
                f"event {outside[0]}: expected {field} in 0..{limit - 1}, got {values[outside[0]]}",
            )
    times = columns["t"]
    backwards = np.flatnonzero(np.diff(times) < 0)
    if len(backwards):
        at = backwards[0] + 1
        raise _damaged(
            events, f"event {at}: time {times[at]} is before the last event's, {times[at - 1]}"
        )
    if len(times) < config.num_frames:
        raise _damaged(
            events, f"expected an event a frame or more, got {len(times)} for {config.num_frames}"
        )
    if config.split_by == "time" and times[-1] - times[0] < config.num_frames:
        raise _damaged(
            events,
            f"lasts {times[-1] - times[0]} time units, too short to be cut into "
            f"{config.num_frames} frames",
        )
    return Events(events.name, **columns)


def _damaged(events: Events, reason: str) -> DamagedRecordingError:
    return DamagedRecordingError(f"{events.name}: {reason}")


def frame_edges(times: NDArray[np.int64], config: FramesConfig) -> NDArray[np.int64]:
    """Positions, shape (T+1,), such that frame k holds the events edges[k] to edges[k+1] - 1."""
    frames = config.num_frames
    if config.split_by == "count":
        edges = np.arange(frames + 1) * (len(times) // frames)
        edges[-1] = len(times)
        return edges
    window = (times[-1] - times[0]) // frames
    starts: NDArray[np.int64] = times[0] + window * np.arange(frames + 1)
    return np.searchsorted(times, starts).astype(np.int64)


def counts(events: Events, sensor: tuple[int, int], config: FramesConfig) -> NDArray[np.int64]:
    """Events by frame, polarity, row and column, shape (T, 2, H, W), at the sensor's size.

    Args:
        events: As `checked` returns them.
        sensor: Height and width of the sensor, in pixels.
        config: Of the frames; resizing and type come later.
    """
    height, width = sensor
    x, y, p = events.x, events.y, events.p
    if config.orientation == "half_turn_swapped":
        x, y, p = width - 1 - x, height - 1 - y, 1 - p
    edges = frame_edges(events.t, config)
    inside = slice(edges[0], edges[-1])
    frame = np.repeat(np.arange(config.num_frames), np.diff(edges))
    place = ((frame * 2 + p[inside]) * height + y[inside]) * width + x[inside]
    shape = (config.num_frames, 2, height, width)
    return np.bincount(place, minlength=int(np.prod(shape))).reshape(shape)


def to_frames(events: Events, sensor: tuple[int, int], config: FramesConfig) -> NDArray[Any]:
    """Frames of one recording, shape (T, 2, H', W'), of the config's size and type.

    Raises:
        DamagedRecordingError: The recording cannot be used.
        ConfigError: The type does not hold a count.
    """
    exact = counts(checked(events, sensor, config), sensor, config)
    limit = EXACT_COUNTS.get(config.dtype)
    if limit is not None and exact.max() > limit:
        raise ConfigError(
            f"{events.name}: {exact.max()} events in one pixel of a frame; data.frames.dtype: "
            f"{config.dtype} holds counts up to {limit}; write float32"
        )
    if config.size is None:
        return exact.astype(config.dtype)
    return resized(torch.from_numpy(exact).float(), config).numpy().astype(config.dtype)


def resized(frames: torch.Tensor, config: FramesConfig) -> torch.Tensor:
    """Frames (T, 2, H, W) at the config's size, as torchvision resizes tensors."""
    if config.interpolation == "nearest":
        return interpolate(frames, config.size, mode="nearest")
    return interpolate(
        frames, config.size, mode="bilinear", align_corners=False, antialias=config.antialias
    )
