"""Recordings of a few events, and files of them in the official formats."""

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.cifar10_dvs import CLASSES
from pipeline.data.event_frames import Events
from pipeline.data.torchvision_import import torchvision_datasets


def spikingjelly(name: str) -> Any:
    """A module of `spikingjelly.datasets`, without its siblings.

    They import torchaudio and torchvision, which need not fit the installed torch.
    """
    package = pytest.importorskip("spikingjelly", reason="needs SpikingJelly")
    torchvision_datasets()
    stub = types.ModuleType("spikingjelly.datasets")
    stub.__path__ = [str(Path(package.__file__).parent / "datasets")]
    before = sys.modules.get(stub.__name__)
    sys.modules[stub.__name__] = stub
    try:
        return importlib.import_module(f"{stub.__name__}.{name}")
    finally:
        if before is None:
            del sys.modules[stub.__name__]
        else:
            sys.modules[stub.__name__] = before


HEADER = (
    b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n"
    b"# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event\r\n"
    b"# Timestamps tick is 1 us\r\n"
)


def random_events(
    count: int, sensor: tuple[int, int] = (34, 34), seed: int = 0, last_us: int = 300_000
) -> Events:
    """Events anywhere on the sensor, some at the same time, in the order of their times."""
    draw = np.random.default_rng(seed)
    return Events(
        f"seed {seed}",
        x=draw.integers(0, sensor[1], count),
        y=draw.integers(0, sensor[0], count),
        p=draw.integers(0, 2, count),
        t=np.sort(draw.integers(0, last_us, count)),
    )


def bin_bytes(events: Events) -> bytes:
    """N-MNIST's 40 bits an event: x, y, polarity and 23 bits of time."""
    out = bytearray()
    columns = (np.asarray(events.x), events.y, events.p, events.t)
    for x, y, p, t in zip(*(column.tolist() for column in columns), strict=True):
        out += bytes([x, y]) + (p << 23 | t).to_bytes(3, "big")
    return bytes(out)


def aedat_bytes(events: Events, header: bytes = HEADER) -> bytes:
    """AEDAT 2.0 of a DVS128: address and time, big-endian; x, y and p as tonic calls them."""
    out = bytearray(header)
    columns = (events.x, events.y, events.p, events.t)
    for x, y, p, t in zip(*(column.tolist() for column in columns), strict=True):
        out += (x << 8 | y << 1 | p).to_bytes(4, "big") + t.to_bytes(4, "big")
    return bytes(out)


def write_nmnist(root: Path, train: int = 3, test: int = 1, count: int = 40) -> None:
    """Folders as the official archives have them, with so many recordings a class."""
    for part, number in (("Train", train), ("Test", test)):
        for digit in range(10):
            folder = root / part / str(digit)
            folder.mkdir(parents=True)
            for i in range(number):
                events = random_events(count, seed=1000 * (part == "Test") + 10 * i + digit)
                (folder / f"{digit + 10 * i:05d}.bin").write_bytes(bin_bytes(events))


def write_cifar10_dvs(root: Path, number: int = 4, count: int = 60) -> None:
    """Ten folders of AEDAT files, with so many recordings a class."""
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for i in range(number):
            events = random_events(count, (128, 128), seed=100 * label + i)
            (root / name / f"cifar10_{name}_{i}.aedat").write_bytes(aedat_bytes(events))


def write_parquet(path: Path, rows: list[Events], labels: list[Any], **columns: Any) -> None:
    """A row a recording; `columns` replace what the rows say."""
    table: dict[str, Any] = {
        field: pa.array(
            [np.asarray(getattr(row, field)).tolist() for row in rows], pa.list_(pa.int32())
        )
        for field in "xypt"
    }
    table["label"] = pa.array(labels, pa.int32())
    table |= columns
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({k: v for k, v in table.items() if v is not None}), path)
