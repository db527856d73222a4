"""CIFAR10-DVS (Li et al., Front. Neurosci. 11:309, 2017) from the official files."""

import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config_types import Count, CountOrZero
from pipeline.data.event_dataset import Damaged, EventSource
from pipeline.data.event_folders import FileRecordings, list_folders, listing_hash
from pipeline.data.event_frames import DamagedRecordingError, Events, FramesConfig
from pipeline.data.splits import capped_test, drawn_test, drawn_validation
from pipeline.errors import SettingError

SENSOR = (128, 128)
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
SUFFIX = ".aedat"
WHERE_FROM = (
    "put airplane.zip to truck.zip of https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671"
    " there and unpack them, so that it holds airplane/ to truck/ with .aedat files (not .aedat4, "
    "which are a conversion), or set data.root to such a folder"
)
PAPER_SEED = 42


@dataclass(frozen=True, kw_only=True)
class Cifar10DvsConfig:
    """10,000 recordings of CIFAR-10 images by an event camera of 128x128 pixels, 1,000 a class."""

    __pydantic_config__ = {"extra": "forbid"}

    dataset: Literal["cifar10_dvs"] = "cifar10_dvs"
    root: str = "data/cifar10_dvs"
    """Folder that holds a folder a class, `airplane` to `truck`."""
    frames: FramesConfig
    """How events become frames."""
    damaged: Damaged = "refuse"
    """Of a recording that cannot be used: `refuse` stops, `skip` leaves it out and counts it."""
    split: Literal["paper", "stratified"] = "paper"
    """Which tenth is for test. `paper`: torch's `random_split(recordings, [9000, 1000])` with seed
    42 over the recordings by class and name, not stratified. `stratified`: 100 of each class, drawn
    by `split_seed`."""
    num_train: Count | None = None
    """Training recordings; null takes all that validation leaves."""
    num_validation: Count = 900
    """Taken from the nine tenths for training."""
    num_test: Count | None = None
    """Test recordings; null takes all."""
    split_seed: CountOrZero = 0
    """Draws what `split: stratified` and validation leave to chance."""

    def identity(self) -> dict[str, Any]:
        """All that decides which frames come out, as JSON can hold it; files by name and size."""
        own = {**asdict(self), "frames": self.frames.identity()}
        root = Path(own.pop("root")).expanduser()
        return {**own, "listing": listing_hash(root, CLASSES, SUFFIX, WHERE_FROM)}


def cifar10_dvs_source(config: Cifar10DvsConfig) -> EventSource:
    """The official recordings and their splits; reads no event.

    Raises:
        ConfigError: The recordings or tonic, which reads them, are absent.
    """
    found = list_folders(Path(config.root).expanduser(), CLASSES, SUFFIX, WHERE_FROM)
    if importlib.util.find_spec("tonic") is None:
        raise SettingError(
            "data.dataset",
            "cifar10_dvs is read by tonic, which is not installed; "
            "pip install 'spikeproof[events]'",
        )
    labels = found.labels
    if config.split == "paper":
        rest, test = paper_split(len(labels))
    else:
        rest, test = drawn_test(labels, max(1, len(labels) // 10), config.split_seed)
    capped = capped_test(labels[test], config.num_test, config.split_seed)
    test = test if capped is None else test[capped]
    train, validation = drawn_validation(
        labels[rest], config.num_validation, config.num_train, config.split_seed
    )
    train, validation = rest[train], rest[validation]
    source = FileRecordings(found.files, read_aedat)
    splits = {"train": train, "validation": validation, "test": test}
    return EventSource(
        name="cifar10_dvs",
        what="cifar10_dvs: official recordings",
        recordings={name: (source, positions) for name, positions in splits.items()},
        labels={name: labels[positions] for name, positions in splits.items()},
        num_classes=len(CLASSES),
        sensor=SENSOR,
        frames=config.frames,
        damaged=config.damaged,
        content=[config.identity(), found.stamp()],
    )


def paper_split(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the first nine tenths and the last tenth of torch's permutation by seed 42."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(PAPER_SEED)).numpy()
    num_test = max(1, count // 10)
    return order[: count - num_test], order[count - num_test :]


def read_aedat(path: Path) -> Events:
    """Events of one AEDAT 2.0 file of a DVS128.

    The file is lines that begin with `#`, then 8 bytes an event, big-endian: address and
    microseconds. Of the address, bits 8 to 14 are x, bits 1 to 7 y, bit 0 the polarity, as in
    tonic's `read_dvs_128`, which is not called: in tonic 1.7.0 it always raises.

    Raises:
        DamagedRecordingError: The header is not AEDAT 2.0's, the file ends within an event, or an
            address is none of the sensor's.
    """
    from tonic.io import get_aer_events_from_file, read_aedat_header_from_file

    with path.open("rb") as file:
        first = file.readline(16)
    if not first.startswith(b"#!AER-DAT2."):
        raise DamagedRecordingError(
            f"{path}: expected AEDAT 2.0, which begins with '#!AER-DAT2.0', got {first.strip()!r}"
        )
    try:
        version, start, *_ = read_aedat_header_from_file(str(path))
        raw = get_aer_events_from_file(str(path), version, start)
    except Exception as error:  # whatever a reader raises on bytes that nobody foresaw
        raise DamagedRecordingError(f"{path}: tonic cannot read it ({error})") from None
    size = path.stat().st_size - start
    if not len(raw) or size != 8 * len(raw):
        raise DamagedRecordingError(
            f"{path}: expected events of 8 bytes each after the header, got {len(raw)} whole ones "
            f"in {size} bytes: cut short"
        )
    addresses = raw["address"].astype(np.int64)
    foreign = np.flatnonzero(addresses >> 16)
    if len(foreign):
        raise DamagedRecordingError(
            f"{path}: event {foreign[0]}: expected an address of 16 bits, got "
            f"{addresses[foreign[0]]:#x}"
        )
    return Events(
        str(path),
        x=addresses >> 8 & 127,
        y=addresses >> 1 & 127,
        p=addresses & 1,
        t=raw["timeStamp"].astype(np.int64),
    )
