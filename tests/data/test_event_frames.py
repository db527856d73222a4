"""Frames by hand, by a loop, by tonic and by SpikingJelly: the same events in the same places."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from pipeline.data import FramesConfig
from pipeline.data.event_frames import (
    DamagedRecordingError,
    Events,
    checked,
    frame_edges,
    to_frames,
)
from pipeline.data.torchvision_import import torchvision_datasets
from pipeline.errors import ConfigError
from tests.data.recordings import random_events, spikingjelly

SENSOR = (34, 34)


def events(x: Any, y: Any, p: Any, t: Any) -> Events:
    return Events("here", *(np.asarray(column) for column in (x, y, p, t)))


HAND = events([0, 1, 1, 2, 0], [0, 0, 0, 1, 1], [1, 0, 0, 1, 1], [0, 1, 2, 8, 11])
"""Five events on a sensor of 2 rows and 3 columns."""


def frames(recording: Events, sensor: tuple[int, int] = SENSOR, **values: Any) -> NDArray[Any]:
    return to_frames(recording, sensor, FramesConfig(**values))


def test_equal_counts_by_hand() -> None:
    got = frames(HAND, (2, 3), num_frames=2)
    assert got.shape == (2, 2, 2, 3)
    assert got.dtype == np.float32
    # 5 // 2 = 2 events, then the other three.
    assert got[0].tolist() == [[[0, 1, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]]]
    assert got[1].tolist() == [[[0, 1, 0], [0, 0, 0]], [[0, 0, 0], [1, 0, 1]]]


def test_equal_times_by_hand() -> None:
    got = frames(HAND, (2, 3), num_frames=2, split_by="time")
    # 11 // 2 = 5 units a frame: [0, 5) and [5, 10); the event at 11 is in neither.
    assert got[0].tolist() == [[[0, 2, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]]]
    assert got[1].tolist() == [[[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]]


def test_half_turn_swapped_by_hand_and_twice_is_nothing() -> None:
    plain = frames(HAND, (2, 3), num_frames=2)
    turned = frames(HAND, (2, 3), num_frames=2, orientation="half_turn_swapped")
    assert np.array_equal(turned, plain[:, ::-1, ::-1, ::-1])
    assert turned[0].tolist() == [[[0, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 1, 0]]]


@pytest.mark.parametrize("split_by", ["count", "time"])
@pytest.mark.parametrize(("count", "num_frames"), [(10, 10), (57, 4), (4000, 10), (999, 1)])
def test_equal_to_a_loop(split_by: Any, count: int, num_frames: int) -> None:
    recording = random_events(count, seed=count)
    expected = np.zeros((num_frames, 2, *SENSOR), int)
    window = (recording.t[-1] - recording.t[0]) // num_frames
    for i in range(count):
        if split_by == "count":
            frame = min(i // (count // num_frames), num_frames - 1)
        else:
            frame = (recording.t[i] - recording.t[0]) // window
        if frame < num_frames:
            expected[frame, recording.p[i], recording.y[i], recording.x[i]] += 1
    got = frames(recording, num_frames=num_frames, split_by=split_by)
    assert np.array_equal(got, expected)
    if split_by == "count":
        assert got.sum() == count


@pytest.mark.parametrize("count", [10, 57, 4000])
def test_identical_to_tonic_time_bins(count: int) -> None:
    functional = pytest.importorskip("tonic.functional", reason="needs tonic")
    recording = random_events(count, seed=count)
    structured = np.zeros(count, [("x", int), ("y", int), ("t", int), ("p", int)])
    for field in "xypt":
        structured[field] = getattr(recording, field)
    theirs = functional.to_frame_numpy(structured, (34, 34, 2), n_time_bins=7)
    assert np.array_equal(frames(recording, num_frames=7, split_by="time"), theirs)


@pytest.mark.parametrize("count", [10, 57, 4000])
def test_identical_to_spikingjelly_numbers(count: int) -> None:
    utils = spikingjelly("utils")
    recording = random_events(count, seed=count)
    theirs = utils.integrate_events_by_fixed_frames_number(
        {field: getattr(recording, field) for field in "xypt"}, "number", 7, *SENSOR
    )
    assert np.array_equal(frames(recording, num_frames=7), theirs)


def test_spikingjelly_in_time_differs_by_what_comes_after_the_last_whole_bin() -> None:
    utils = spikingjelly("utils")
    recording = random_events(4000)
    theirs = utils.integrate_events_by_fixed_frames_number(
        {field: getattr(recording, field) for field in "xypt"}, "time", 7, *SENSOR
    )
    ours = frames(recording, num_frames=7, split_by="time")
    assert np.array_equal(ours[:-1], theirs[:-1])
    edges = frame_edges(recording.t, FramesConfig(num_frames=7, split_by="time"))
    assert theirs.sum() - ours.sum() == 4000 - edges[-1] > 0


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_resizing_is_torchvision_s(interpolation: Any, antialias: bool) -> None:
    torchvision_datasets()
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import resize

    if antialias and interpolation == "nearest":
        pytest.skip("nearest has no antialiasing")
    recording = random_events(5000, (128, 128))
    whole = torch.from_numpy(frames(recording, (128, 128), num_frames=3))
    theirs = resize(whole, [48, 40], InterpolationMode(interpolation), antialias=antialias)
    ours = frames(
        recording,
        (128, 128),
        num_frames=3,
        size=(48, 40),
        interpolation=interpolation,
        antialias=antialias,
    )
    assert ours.shape == (3, 2, 48, 40)
    assert np.array_equal(ours, theirs.numpy())


def test_resizing_by_hand() -> None:
    column = events([0, 0, 0, 1, 1, 3], [0] * 6, [0] * 6, range(6))
    got = frames(column, (1, 4), num_frames=1, size=(1, 2))
    # Half the width: each pixel is the mean of the two that it lies between.
    assert got[0, 0].tolist() == [[2.5, 0.5]]


def test_types_hold_what_they_hold() -> None:
    def pile(count: int) -> Events:
        return events([0] * count, [0] * count, [1] * count, range(count))

    assert frames(pile(255), num_frames=1, dtype="uint8").max() == 255
    assert frames(pile(2048), num_frames=1, dtype="float16").max() == 2048
    for dtype, count in (("uint8", 256), ("float16", 2049)):
        with pytest.raises(ConfigError, match=rf"^here: {count} events .* write float32$"):
            frames(pile(count), num_frames=1, dtype=dtype)
    assert frames(pile(5000), num_frames=1).max() == 5000
    assert frames(pile(5000), num_frames=1, dtype="float32", size=(4, 4)).dtype == np.float32


DAMAGES: dict[str, tuple[dict[str, Any], str]] = {
    "column outside": ({"x": [0, 1, 34]}, r"event 2: expected x in 0\.\.33, got 34"),
    "row outside": ({"y": [0, 40, 3]}, r"event 1: expected y in 0\.\.33, got 40"),
    "negative": ({"x": [-1, 0, 0]}, r"event 0: expected x in 0\.\.33, got -1"),
    "polarity": ({"p": [0, 2, 1]}, r"event 1: expected p in 0\.\.1, got 2"),
    "time goes back": ({"t": [5, 9, 8]}, "event 2: time 8 is before the last event's, 9"),
    "lengths": ({"t": [5, 9]}, "expected x, y, p and t of one length"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(name: str) -> None:
    values, expected = DAMAGES[name]
    whole = {"x": [0, 1, 2], "y": [0, 1, 2], "p": [0, 1, 1], "t": [0, 4, 9]}
    with pytest.raises(DamagedRecordingError, match=f"^here: {expected}"):
        checked(events(**(whole | values)), SENSOR, FramesConfig(num_frames=2))


def test_too_few_events_and_too_short_a_time() -> None:
    short = events([0, 1, 2], [0, 1, 2], [0, 1, 1], [0, 1, 2])
    with pytest.raises(DamagedRecordingError, match="expected an event a frame or more, got 3"):
        checked(short, SENSOR, FramesConfig(num_frames=4))
    with pytest.raises(DamagedRecordingError, match="lasts 2 time units, too short"):
        checked(short, SENSOR, FramesConfig(num_frames=3, split_by="time"))
    checked(short, SENSOR, FramesConfig(num_frames=2, split_by="time"))


def test_unsigned_columns_are_compared_as_numbers() -> None:
    byte = events([200], [1], [1], [0])
    byte = dataclasses.replace(byte, x=byte.x.astype(np.uint8), t=np.asarray([7], np.uint32))
    with pytest.raises(DamagedRecordingError, match="got 200"):
        checked(byte, SENSOR, FramesConfig(num_frames=1))
    backwards = events([0, 0], [0, 0], [0, 0], np.asarray([9, 3], np.uint32))
    with pytest.raises(DamagedRecordingError, match="time 3 is before"):
        checked(backwards, SENSOR, FramesConfig(num_frames=1))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"antialias": True}, "antialias does nothing without size"),
        ({"size": [4, 4], "antialias": True, "interpolation": "nearest"}, "antialias does nothing"),
        ({"size": [4, 4], "dtype": "uint8"}, "uint8 holds no resized counts"),
        ({"size": [4]}, "size"),
        ({"num_frames": 0}, "num_frames"),
        ({"split_by": "number"}, "split_by"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        TypeAdapter(FramesConfig).validate_python({"num_frames": 4} | values)


def test_identity_names_each_choice_that_has_an_effect() -> None:
    base = {"num_frames": 4, "size": (8, 8)}
    variants: list[dict[str, Any]] = [
        {},
        {"num_frames": 5},
        {"split_by": "time"},
        {"size": (8, 9)},
        {"interpolation": "nearest"},
        {"antialias": True},
        {"orientation": "half_turn_swapped"},
        {"dtype": "float16"},
    ]
    identities = [str(FramesConfig(**(base | variant)).identity()) for variant in variants]
    assert len(set(identities)) == len(variants)
    nearest = FramesConfig(num_frames=4, interpolation="nearest")
    assert nearest.identity() == FramesConfig(num_frames=4).identity()
