"""Recordings that are files in a folder a class, as official event data sets come."""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.event_frames import DamagedRecordingError, Events
from pipeline.errors import ConfigError, SettingError

Decode = Callable[[Path], Events]
"""Reads one file; raises `DamagedRecordingError` where it cannot."""
_CHUNK_FILES = 64


@dataclass(frozen=True)
class FileRecordings:
    """One file a recording; see `event_dataset.Recordings`."""

    files: tuple[Path, ...]
    decode: Decode

    def chunks(self, positions: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Groups of neighbours."""
        yield from np.split(positions, range(_CHUNK_FILES, len(positions), _CHUNK_FILES))

    def part(self, positions: NDArray[np.int64]) -> "FileRecordings":
        """The recordings at these positions, in this order."""
        return FileRecordings(tuple(self.files[i] for i in positions.tolist()), self.decode)

    def read(self) -> Iterator[Events | DamagedRecordingError]:
        """Each recording, or why it cannot be read."""
        for file in self.files:
            try:
                yield self.decode(file)
            except DamagedRecordingError as error:
                yield error
            except OSError as error:
                yield DamagedRecordingError(f"{file}: cannot be read ({error.strerror or error})")


@dataclass(frozen=True)
class ClassFolders:
    """The files of each class's folder, classes and names in order, as torchvision lists them."""

    root: Path
    files: tuple[Path, ...]
    labels: NDArray[np.int64]

    def stamp(self) -> str:
        """Changes with a name, a size or a time of change; reads no file."""
        stats = [(path, path.stat()) for path in self.files]
        entries = [
            [path.relative_to(self.root).as_posix(), stat.st_size, stat.st_mtime_ns]
            for path, stat in stats
        ]
        return _sha256(entries)


def list_folders(root: Path, classes: Sequence[str], suffix: str, where_from: str) -> ClassFolders:
    """All files of the suffix in the folders that the classes are named by.

    Args:
        root: Holds a folder a class.
        classes: Names of the folders; a class's number is its place here.
        suffix: Of a recording's file, with the dot.
        where_from: What to put there, for the message where a folder is absent.

    Raises:
        ConfigError: A folder is absent, or has no such file.
    """
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        folder = root / name
        if not folder.is_dir():
            raise SettingError(
                "data.root", f"expected the folder {folder}, found none; {where_from}"
            )
        names = sorted(n for n in os.listdir(folder) if n.endswith(suffix))
        if not names:
            raise ConfigError(f"{folder}: expected {suffix} files, found none; {where_from}")
        files += [folder / n for n in names]
        labels += [label] * len(names)
    return ClassFolders(root, tuple(files), np.asarray(labels, np.int64))


def listing_hash(root: Path, classes: Sequence[str], suffix: str, where_from: str) -> str:
    """SHA-256 over names and sizes of all recordings: what a configuration's identity takes.

    Tens of thousands of files are not read for a name. What is inside them counts where it
    matters, in the hash of the frames that verdicts carry.
    """
    folders = tuple(root / name for name in classes)
    times = tuple(folder.stat().st_mtime_ns if folder.is_dir() else 0 for folder in folders)
    return _listing_hash(root, tuple(classes), suffix, where_from, times)


@functools.lru_cache(maxsize=64)
def _listing_hash(
    root: Path, classes: tuple[str, ...], suffix: str, where_from: str, times: tuple[int, ...]
) -> str:
    found = list_folders(root, classes, suffix, where_from)
    return _sha256(
        [[path.relative_to(root).as_posix(), path.stat().st_size] for path in found.files]
    )


def _sha256(entries: Any) -> str:
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()
