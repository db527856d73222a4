"""N-MNIST (Orchard et al., Front. Neurosci. 9:437, 2015) from the official files."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.config_types import Count, CountOrZero
from pipeline.data.event_dataset import Damaged, EventSource
from pipeline.data.event_folders import FileRecordings, list_folders, listing_hash
from pipeline.data.event_frames import DamagedRecordingError, Events, FramesConfig
from pipeline.data.splits import capped_test, drawn_validation

SENSOR = (34, 34)
CLASSES = tuple(str(digit) for digit in range(10))
SUFFIX = ".bin"
WHERE_FROM = (
    "put Train.zip and Test.zip of https://data.mendeley.com/datasets/468j46mzdv there and unpack "
    "them, so that it holds Train/0..9 and Test/0..9 with .bin files, or set data.root to such a "
    "folder"
)
_OVERFLOW_ROW, _OVERFLOW_US = 240, 2**13


@dataclass(frozen=True, kw_only=True)
class NmnistConfig:
    """60,000 + 10,000 recordings of MNIST digits by a moving event camera of 34x34 pixels."""

    __pydantic_config__ = {"extra": "forbid"}

    dataset: Literal["nmnist"] = "nmnist"
    root: str = "data/nmnist"
    """Folder that holds `Train` and `Test`, each with a folder a digit."""
    frames: FramesConfig
    """How events become frames."""
    damaged: Damaged = "refuse"
    """Of a recording that cannot be used: `refuse` stops, `skip` leaves it out and counts it."""
    num_train: Count | None = None
    """Training recordings; null takes all that validation leaves."""
    num_validation: Count = 5000
    """Taken from the official training recordings."""
    num_test: Count | None = None
    """Test recordings; null takes all."""
    split_seed: CountOrZero = 0
    """Draws the splits; another number gives other ones."""

    def identity(self) -> dict[str, Any]:
        """All that decides which frames come out, as JSON can hold it; files by name and size."""
        own = {**asdict(self), "frames": self.frames.identity()}
        root = Path(own.pop("root")).expanduser()
        listings = {
            part: listing_hash(root / part, CLASSES, SUFFIX, WHERE_FROM)
            for part in ("Train", "Test")
        }
        return {**own, "listings": listings}


def nmnist_source(config: NmnistConfig) -> EventSource:
    """The official recordings and their splits; reads no event."""
    root = Path(config.root).expanduser()
    train_files = list_folders(root / "Train", CLASSES, SUFFIX, WHERE_FROM)
    test_files = list_folders(root / "Test", CLASSES, SUFFIX, WHERE_FROM)
    train, validation = drawn_validation(
        train_files.labels, config.num_validation, config.num_train, config.split_seed
    )
    drawn = capped_test(test_files.labels, config.num_test, config.split_seed)
    test = np.arange(len(test_files.labels)) if drawn is None else drawn
    source = FileRecordings(train_files.files, read_bin)
    return EventSource(
        name="nmnist",
        what="nmnist: official recordings",
        recordings={
            "train": (source, train),
            "validation": (source, validation),
            "test": (FileRecordings(test_files.files, read_bin), test),
        },
        labels={
            "train": train_files.labels[train],
            "validation": train_files.labels[validation],
            "test": test_files.labels[test],
        },
        num_classes=len(CLASSES),
        sensor=SENSOR,
        frames=config.frames,
        damaged=config.damaged,
        content=[config.identity(), train_files.stamp(), test_files.stamp()],
    )


def read_bin(path: Path) -> Events:
    """Events of one file: 40 bits each, x (8), y (8), polarity (1), microseconds (23).

    An event in row 240 is none: it says that the 13-bit counter of the camera ran over.

    Raises:
        DamagedRecordingError: The file is empty, or ends within an event.
    """
    data = path.read_bytes()
    if not data or len(data) % 5:
        raise DamagedRecordingError(
            f"{path}: expected events of 5 bytes, got {len(data)} bytes: cut short"
        )
    raw = np.frombuffer(data, np.uint8).reshape(-1, 5).astype(np.int64)
    times = (raw[:, 2] & 127) << 16 | raw[:, 3] << 8 | raw[:, 4]
    overflow = raw[:, 1] == _OVERFLOW_ROW
    times += _OVERFLOW_US * np.cumsum(overflow)
    events = ~overflow
    return Events(str(path), raw[events, 0], raw[events, 1], raw[events, 2] >> 7, times[events])
