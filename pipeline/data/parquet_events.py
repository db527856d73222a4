"""Event data sets in Parquet files: a row is a recording, its events are lists."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.config_types import Count, CountOrZero
from pipeline.data.event_dataset import Damaged, EventSource
from pipeline.data.event_frames import (
    MAX_EVENTS,
    DamagedRecordingError,
    Events,
    FramesConfig,
)
from pipeline.data.file_hash import file_hashes
from pipeline.data.parquet_files import Patterns, matching_files
from pipeline.data.splits import capped_test, drawn_test, drawn_validation
from pipeline.errors import ConfigError, SettingError

COLUMNS = ("x", "y", "p", "t")
_CHUNK_ROWS, _BATCH_ROWS = 1024, 64


@dataclass(frozen=True, kw_only=True)
class EventsConfig:
    """A folder of Parquet files; columns x, y, p, t hold lists of integers, `label` an integer."""

    __pydantic_config__ = {"extra": "forbid"}

    dataset: Literal["events"] = "events"
    root: str
    """Folder that the patterns are relative to."""
    train: Patterns = ("**/*train*.parquet", "**/train/*.parquet")
    """Patterns of the training files' names."""
    test: Patterns = ("**/*test*.parquet", "**/test/*.parquet")
    """Where no file matches, test is drawn from the training files; then give `num_test`."""
    label_column: str = "label"
    """Integers 0..K-1."""
    sensor: tuple[Count, Count]
    """Height and width of the sensor, in pixels."""
    frames: FramesConfig
    """How events become frames."""
    damaged: Damaged = "refuse"
    """Of a recording that cannot be used: `refuse` stops, `skip` leaves it out and counts it."""
    num_train: Count | None = None
    """Training recordings; null takes all that validation leaves."""
    num_validation: Count | None = None
    """Taken from the training files; null takes a tenth of them."""
    num_test: Count | None = None
    """Test recordings; null takes all of the test files."""
    split_seed: CountOrZero = 0
    """Draws the splits; another number gives other ones."""

    def identity(self) -> dict[str, Any]:
        """All that decides which frames come out, as JSON can hold it.

        The files' hashes stand for the folder and the patterns.
        """
        own = {**asdict(self), "frames": self.frames.identity(), "sensor": list(self.sensor)}
        for name in ("root", "train", "test"):
            del own[name]
        train, test = matching_files(self.root, self.train, self.test)
        return {**own, "train_sha256": file_hashes(train), "test_sha256": file_hashes(test)}


@dataclass(frozen=True)
class ParquetRecordings:
    """Rows of Parquet files, named by file and row; see `event_dataset.Recordings`."""

    files: tuple[Path, ...]
    file: NDArray[np.int64]
    """Which file each recording is in, shape (N,), never decreasing."""
    row: NDArray[np.int64]
    """Its row there, shape (N,), increasing within a file."""
    group: NDArray[np.int64]
    """Its row group there, shape (N,)."""

    def chunks(self, positions: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Row group by row group, as a row cannot be read without its group."""
        own = self.part(positions)
        changes = (np.diff(own.file) != 0) | (np.diff(own.group) != 0)
        for group in np.split(positions, np.flatnonzero(changes) + 1):
            yield from np.split(group, range(_CHUNK_ROWS, len(group), _CHUNK_ROWS))

    def part(self, positions: NDArray[np.int64]) -> "ParquetRecordings":
        """The recordings at these increasing positions."""
        return ParquetRecordings(
            self.files, self.file[positions], self.row[positions], self.group[positions]
        )

    def read(self) -> Iterator[Events | DamagedRecordingError]:
        """Each recording, or why it cannot be read."""
        for index, group in sorted({*zip(self.file.tolist(), self.group.tolist(), strict=True)}):
            mine = (self.file == index) & (self.group == group)
            yield from _read_rows(self.files[index], self.row[mine], group)


def events_source(config: EventsConfig) -> EventSource:
    """The recordings of the folder and their splits; reads no event."""
    train_files, test_files = matching_files(config.root, config.train, config.test)
    source, labels, skipped = _scan(train_files, config)
    num_classes = int(labels.max()) + 1
    if num_classes > len(labels):
        raise ConfigError(
            f"{train_files[0]}: expected labels 0..K-1, got {num_classes - 1} among "
            f"{len(labels)} recordings; set data.label_column to the column of class numbers"
        )
    seed = config.split_seed
    rest = np.arange(len(labels))
    if test_files:
        test_source, test_labels, also_skipped = _scan(test_files, config)
        skipped += also_skipped
        if test_labels.max() >= num_classes:
            raise ConfigError(
                f"{test_files[0]}: expected test labels 0..{num_classes - 1}, as in the training "
                f"files, got {test_labels.max()}; correct data.train or data.test"
            )
        drawn = capped_test(test_labels, config.num_test, seed)
        test = np.arange(len(test_labels)) if drawn is None else drawn
    elif config.num_test is not None:
        test_source, test_labels = source, labels
        rest, test = drawn_test(labels, config.num_test, seed)
    else:
        raise SettingError(
            "data.test",
            f"expected files in {config.root} that match {', '.join(config.test)}, "
            "found none; correct the pattern, or set data.num_test to draw a test split from "
            "the training files",
        )
    num_validation = config.num_validation or max(1, len(rest) // 10)
    train, validation = drawn_validation(labels[rest], num_validation, config.num_train, seed)
    train, validation = rest[train], rest[validation]
    return EventSource(
        name="events",
        what=f"events: folder {Path(config.root).expanduser().resolve().name}",
        recordings={
            "train": (source, train),
            "validation": (source, validation),
            "test": (test_source, test),
        },
        labels={
            "train": labels[train],
            "validation": labels[validation],
            "test": test_labels[test],
        },
        num_classes=num_classes,
        sensor=config.sensor,
        frames=config.frames,
        damaged=config.damaged,
        content=config.identity(),
        skipped=skipped,
    )


def _scan(
    files: Sequence[Path], config: EventsConfig
) -> tuple[ParquetRecordings, NDArray[np.int64], tuple[str, ...]]:
    """All rows of the files that have a label, their labels, and why the others have none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file: list[int] = []
    row: list[int] = []
    group: list[int] = []
    labels: list[int] = []
    skipped: list[str] = []
    for index, path in enumerate(files):
        try:
            with pq.ParquetFile(path) as parquet:
                _check_columns(path, parquet.schema_arrow, config.label_column)
                sizes = _group_sizes(path, parquet.metadata)
                table = parquet.read(columns=[config.label_column])
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from None
        groups = np.repeat(np.arange(len(sizes)), sizes).tolist()
        for at, value in enumerate(table.column(0).to_pylist()):
            if value is None or not 0 <= value < 2**31:
                skipped.append(_no_label(path, at, value, config))
                continue
            file.append(index)
            row.append(at)
            group.append(groups[at])
            labels.append(value)
    if not labels:
        raise ConfigError(f"{files[0]}: expected recordings, got a file without rows; remove it")
    arrays = (np.asarray(values, np.int64) for values in (file, row, group, labels))
    where, rows, row_groups, classes = arrays
    return ParquetRecordings(tuple(files), where, rows, row_groups), classes, tuple(skipped)


def _no_label(path: Path, row: int, value: int | None, config: EventsConfig) -> str:
    """Why a row is skipped, where it may be.

    Raises:
        ConfigError: It may not.
    """
    reason = (
        f"{path}: row {row}: column '{config.label_column}': expected a class number of at least "
        f"0, got {'nothing' if value is None else value}"
    )
    if config.damaged == "refuse":
        raise ConfigError(f"{reason}; correct it, or write data.damaged: skip to leave it out")
    return reason


def _group_sizes(path: Path, metadata: Any) -> list[int]:
    """Rows of each row group, none of which holds more events than memory could.

    Runs of one value take next to nothing in the file, so that its size says nothing.
    """
    sizes = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        events = max(group.column(i).num_values for i in range(group.num_columns))
        if events > MAX_EVENTS * group.num_rows:
            raise ConfigError(
                f"{path}: row group {number}: expected at most {MAX_EVENTS:,} events a row, got "
                f"{events:,} in {group.num_rows} rows"
            )
        sizes.append(group.num_rows)
    return sizes


def _unreadable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"{path}: cannot be read as Parquet ({' '.join(str(error).split())}); "
        "repair it, or narrow data.train and data.test"
    )


def _check_columns(path: Path, schema: Any, label: str) -> None:
    import pyarrow as pa

    lacking = [name for name in (*COLUMNS, label) if schema.names.count(name) != 1]
    if lacking:
        raise ConfigError(
            f"{path}: expected the columns {', '.join((*COLUMNS, label))}, each once, got "
            f"{', '.join(schema.names)}; rename what holds {', '.join(lacking)}"
        )
    for name in COLUMNS:
        kind = schema.field(name).type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        integers = is_list and pa.types.is_integer(kind.value_type)
        if not (integers or (is_list and name == "p" and pa.types.is_boolean(kind.value_type))):
            raise ConfigError(f"{path}: column '{name}': expected lists of integers, got {kind}")
    if not pa.types.is_integer(schema.field(label).type):
        raise ConfigError(
            f"{path}: column '{label}': expected integers, got {schema.field(label).type}; set "
            "data.label_column to another column"
        )


def _read_rows(
    path: Path, rows: NDArray[np.int64], group: int
) -> Iterator[Events | DamagedRecordingError]:
    """The recordings in these increasing rows, all of one row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = iter(rows.tolist())
    row: int | None = next(wanted)
    try:
        with pq.ParquetFile(path) as parquet:
            metadata = parquet.metadata
            first = sum(metadata.row_group(i).num_rows for i in range(group))
            batches = parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=list(COLUMNS))
            for batch in batches:
                while row is not None and row < first + len(batch):
                    yield _recording(f"{path}: row {row}", batch, row - first)
                    row = next(wanted, None)
                first += len(batch)
                if row is None:
                    return
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _recording(name: str, batch: Any, at: int) -> Events | DamagedRecordingError:
    columns = {}
    for field in COLUMNS:
        values = batch.column(field)[at].values
        if values is None or values.null_count:
            return DamagedRecordingError(
                f"{name}: column '{field}': expected a list of integers, got "
                f"{'nothing' if values is None else 'a list with gaps'}"
            )
        columns[field] = values.to_numpy(zero_copy_only=False)
    return Events(name, **columns)
