"""From recordings of events to a data set of frames: built in parallel, kept in a file."""

# Shapes: N samples, T frames, H height, W width; two polarities.
import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.data.dataset import Dataset, Split, StoredRows, rows_hash, stored_split
from pipeline.data.event_frames import (
    FRAMES_VERSION,
    DamagedRecordingError,
    Events,
    FramesConfig,
    to_frames,
)
from pipeline.data.frame_file import SPLITS, FrameFacts, Rows, read_facts, write_frames
from pipeline.errors import ConfigError, DamagedError
from pipeline.files import set_aside
from pipeline.fingerprint import fingerprint

Damaged = Literal["refuse", "skip"]
"""What to do with a recording that cannot be used: stop, or leave it out and count it."""
Run = Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]]
"""Applies a function to each of the chunks, in any number of processes; results in order."""
Say = Callable[[str], None]


class Recordings(Protocol):
    """Recordings in a fixed order that can be read part by part, in another process too."""

    def chunks(self, positions: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """The positions in groups that are well read together."""

    def part(self, positions: NDArray[np.int64]) -> "Recordings":
        """The recordings at these positions, in this order."""

    def read(self) -> Iterator[Events | DamagedRecordingError]:
        """Each recording, or why it cannot be read."""


@dataclass(frozen=True, kw_only=True)
class EventSource:
    """All that a data set of events is made of, before any event is read."""

    name: str
    what: str
    """Opens the note: what the data is, and where from."""
    recordings: Mapping[str, tuple[Recordings, NDArray[np.int64]]]
    """By split: where to read, and the positions of its samples there, in their order."""
    labels: Mapping[str, NDArray[np.int64]]
    """By split, in the samples' order."""
    num_classes: int
    sensor: tuple[int, int]
    """Height and width, in pixels."""
    frames: FramesConfig
    damaged: Damaged
    content: Any
    """What the recordings and the splits depend on, as JSON can hold it."""
    skipped: tuple[str, ...] = ()
    """Why some recordings are in no split, where that is known without reading events."""

    def key(self) -> str:
        """Names the file of frames: a change of anything that decides them is another file."""
        return fingerprint(
            {
                "version": FRAMES_VERSION,
                "content": self.content,
                "frames": self.frames,
                "sensor": self.sensor,
                "damaged": self.damaged,
            },
            length=32,
        )


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """Recordings that one call reads, and the rows that their frames go to."""

    rows: NDArray[np.int64]
    recordings: Recordings


@dataclass(frozen=True, kw_only=True)
class _Frames:
    rows: NDArray[np.int64]
    values: NDArray[Any]
    """Shape (len(rows), T, 2, H, W)."""
    skipped: Mapping[int, str]
    """By row, why its recording was left out."""


def load_events(
    source: EventSource,
    cache: Path | None = None,
    run: Run | None = None,
    say: Say | None = None,
) -> Dataset:
    """The frames of the recordings, from the cached file where there is one.

    Args:
        source: The recordings.
        cache: Folder of the files of frames; None builds in memory.
        run: Applies a function to chunks of recordings, in other processes perhaps; the
            default does so here, one after the other.
        say: Takes a line on what takes long.

    Raises:
        ConfigError: A recording is damaged and is not to be skipped, or a split ends up empty.
    """
    run, say = run or map, say or (lambda text: None)
    if cache is None:
        total = sum(len(labels) for labels in source.labels.values())
        values = np.empty((total, *source.frames.shape(source.sensor)), source.frames.dtype)
        rows, skipped = _build(source, values, run, say)
        splits = {name: Split(images=rows[name][0], labels=rows[name][1]) for name in SPLITS}
        return _dataset(source, splits, _largest(rows["train"][0]), skipped)
    path = cache / f"{source.key()}.arrow"
    cached = _from_cache(path, source, say)
    if cached is None:
        _build_file(path, source, run, say)
        cached = _from_cache(path, source, say)
        assert cached is not None, path
    return cached


def try_recordings(source: EventSource) -> None:
    """Makes frames of the first recording of each split, and throws them away.

    Raises:
        ConfigError: One of them is damaged, and is not to be skipped.
    """
    for recordings, positions in source.recordings.values():
        first = _Chunk(rows=np.zeros(1, np.int64), recordings=recordings.part(positions[:1]))
        _frames_of(source.frames, source.sensor, source.damaged, first)


def _from_cache(path: Path, source: EventSource, say: Say) -> Dataset | None:
    """The data set in the file, if it is there and whole; set aside if it is not whole."""
    if not path.exists():
        return None
    try:
        facts = read_facts(path)
        if facts.key != source.key():
            raise DamagedError(f"{path}: holds the frames of {facts.key}, by its own words")
        splits = {
            name: stored_split(
                StoredRows(
                    path=path.resolve(),
                    split=name,
                    count=facts.num_samples[name],
                    sha256=facts.sha256[name],
                )
            )
            for name in SPLITS
        }
        for name, split in splits.items():
            if rows_hash(split.images, split.labels) != facts.sha256[name]:
                raise DamagedError(f"{path}: the SHA-256 of '{name}' is not the one on record")
    except DamagedError as error:
        say(f"{error}; set aside as {set_aside(path).name}, and built again")
        return None
    return _dataset(source, splits, facts.scale, facts.skipped)


def _build_file(path: Path, source: EventSource, run: Run, say: Say) -> None:
    total = sum(len(labels) for labels in source.labels.values())
    # Results come in the recordings' order, rows are in the splits': hence written in place.
    values = _scratch(
        path.parent, (total, *source.frames.shape(source.sensor)), source.frames.dtype
    )
    rows, skipped = _build(source, values, run, say)
    facts = FrameFacts(
        key=source.key(),
        dtype=source.frames.dtype,
        shape=source.frames.shape(source.sensor),
        num_samples={name: len(rows[name][1]) for name in SPLITS},
        sha256={name: rows_hash(*rows[name]) for name in SPLITS},
        scale=_largest(rows["train"][0]),
        skipped=skipped,
    )
    try:
        write_frames(path, rows, facts)
    except OSError as error:
        raise _no_room(path.parent, values.nbytes, error) from error


def _scratch(folder: Path, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """A writable array in a file without a name, which goes with the process, however it ends."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            # On a full disk, writing into a map of a file with holes would kill the process.
            os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise _no_room(folder, size, error) from error


def _no_room(folder: Path, size: int, error: OSError) -> ConfigError:
    return ConfigError(
        f"{folder}: cannot take {size / 1e9:.1f} GB of frames, twice while they are built "
        f"({error.strerror or error}); free some space, or give another folder"
    )


def _build(
    source: EventSource, values: NDArray[Any], run: Run, say: Say
) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Fills the frames, shape (N, T, 2, H, W); returns them split by split, and what was skipped.

    Damaged recordings leave their split after it was drawn: one more or less moves no other.
    """
    total = len(values)
    say(f"frames of {total:,} recordings of {source.name} are built")
    make = functools.partial(_frames_of, source.frames, source.sensor, source.damaged)
    skipped: dict[int, str] = {}
    done = said = 0
    for result in run(make, _chunks(source)):
        values[result.rows] = result.values
        skipped.update(result.skipped)
        done += len(result.rows)
        if done - said >= total / 10:
            said = done
            say(f"frames: {done:,} of {total:,} recordings")
    kept = np.setdiff1d(np.arange(total), list(skipped))
    for row, old in enumerate(kept) if skipped else ():
        values[row] = values[old]
    left_out = (*source.skipped, *(skipped[row] for row in sorted(skipped)))
    return _split_rows(source, values, kept), left_out


def _chunks(source: EventSource) -> list[_Chunk]:
    """Chunks of one place to read from are in its order, so that a file is read in one go."""
    places: dict[int, tuple[Recordings, list[NDArray[np.int64]], list[NDArray[np.int64]]]] = {}
    start = 0
    for name in SPLITS:
        recordings, positions = source.recordings[name]
        _, all_positions, rows = places.setdefault(id(recordings), (recordings, [], []))
        all_positions.append(positions)
        rows.append(np.arange(start, start + len(positions)))
        start += len(positions)
    chunks = []
    for recordings, parts, row_parts in places.values():
        positions = np.concatenate(parts)
        row_of = dict(zip(positions.tolist(), np.concatenate(row_parts).tolist(), strict=True))
        for group in recordings.chunks(np.sort(positions)):
            chunk_rows = np.array([row_of[position] for position in group.tolist()])
            chunks.append(_Chunk(rows=chunk_rows, recordings=recordings.part(group)))
    return chunks


def _frames_of(
    config: FramesConfig, sensor: tuple[int, int], damaged: Damaged, chunk: _Chunk
) -> _Frames:
    """Frames of a chunk; runs in a worker."""
    values = np.zeros((len(chunk.rows), *config.shape(sensor)), config.dtype)
    skipped: dict[int, str] = {}
    for place, events in enumerate(chunk.recordings.read()):
        try:
            if isinstance(events, DamagedRecordingError):
                raise events
            values[place] = to_frames(events, sensor, config)
        except DamagedRecordingError as error:
            if damaged == "refuse":
                raise ConfigError(
                    f"{error}; replace the recording, or write data.damaged: skip to leave it out"
                ) from None
            skipped[int(chunk.rows[place])] = str(error)
    return _Frames(rows=chunk.rows, values=values, skipped=skipped)


def _split_rows(
    source: EventSource, values: NDArray[Any], kept: NDArray[np.int64]
) -> dict[str, Rows]:
    rows: dict[str, Rows] = {}
    start = first = 0
    for name in SPLITS:
        labels = source.labels[name]
        mine = kept[(kept >= start) & (kept < start + len(labels))] - start
        if not len(mine):
            raise ConfigError(
                f"{source.name}: none of the {len(labels)} recordings for {name} can be used; "
                "replace them, or ask for more"
            )
        rows[name] = values[first : first + len(mine)], labels[mine]
        start += len(labels)
        first += len(mine)
    return rows


def _largest(frames: NDArray[Any]) -> float:
    return float(max(sample.max() for sample in frames))


def _dataset(
    source: EventSource, splits: Mapping[str, Split], scale: float, skipped: Sequence[str]
) -> Dataset:
    counts = [f"{len(splits[name]):,}" for name in SPLITS]
    frames, _, height, width = source.frames.shape(source.sensor)
    left_out = f"; {len(skipped):,} damaged recordings left out" if skipped else ""
    return Dataset(
        name=source.name,
        **splits,
        num_classes=source.num_classes,
        mean=(0.0, 0.0),
        std=(1.0, 1.0),
        scale=scale or 1.0,
        note=f"{source.what}, {counts[0]} training, {counts[1]} validation and {counts[2]} test "
        f"recordings of {frames} frames (equal {source.frames.split_by}) of {height}x{width}, "
        f"{source.num_classes} classes{left_out}",
    )
