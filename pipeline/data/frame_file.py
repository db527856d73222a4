"""Event frames in one Arrow file, which every process maps into memory in place of copying it."""

# Shapes: N samples, T frames, H height, W width; two polarities.
import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, DamagedError

SPLITS = ("train", "validation", "test")
Rows = tuple[NDArray[Any], NDArray[np.int64]]
"""Frames (N, T, 2, H, W) and labels (N,) of one split."""
_METADATA, _METADATA_SHA256 = b"spikeproof", b"spikeproof.sha256"
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class FrameFacts:
    """What a file of frames says of itself."""

    key: str
    """Of the recordings and of all that was chosen; the file is named by it."""
    dtype: str
    shape: tuple[int, int, int, int]
    """(T, 2, H, W) of a sample."""
    num_samples: dict[str, int]
    """By split."""
    sha256: dict[str, str]
    """By split, over frames and labels."""
    scale: float
    """The largest value of the training frames."""
    skipped: tuple[str, ...] = ()
    """Why each damaged recording is not among the samples."""


def write_frames(path: Path, rows: dict[str, Rows], facts: FrameFacts) -> None:
    """Writes the file under a temporary name, then renames it: it is whole, or not there.

    Two processes that write one path write the same; the later one's stays, and whoever has
    mapped the other keeps it.
    """
    import pyarrow as pa

    stored = json.dumps(asdict(facts)).encode()
    schema = pa.schema(
        [
            ("frames", pa.fixed_shape_tensor(pa.from_numpy_dtype(facts.dtype), facts.shape)),
            ("label", pa.int64()),
        ],
        metadata={_METADATA: stored, _METADATA_SHA256: _sha256(stored)},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for split in SPLITS:
                frames, labels = rows[split]
                tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(frames)
                columns = [tensor.cast(schema.field("frames").type), pa.array(labels)]
                writer.write_batch(pa.record_batch(columns, schema=schema))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_facts(path: Path) -> FrameFacts:
    """What the file says of itself; reads nothing but its ends.

    Raises:
        DamagedError: It is cut short, or is not such a file.
    """
    return _opened(path, lambda reader: _facts(path, reader))


def open_rows(path: Path, split: str) -> Rows:
    """Read-only views of the mapped file.

    Raises:
        DamagedError: It is cut short, or is not such a file.
        ConfigError: It is not there.
    """
    return _opened(path, lambda reader: _rows(path, reader, split))


def _opened(path: Path, use: Callable[[Any], _Result]) -> _Result:
    import pyarrow as pa

    if not path.is_file():
        raise ConfigError(
            f"{path}: expected the file of event frames, found none; other machines need the "
            "store's folder under the same path"
        )
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
            return use(reader)
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
        if isinstance(error, DamagedError):
            raise
        reason = " ".join(str(error).split())
        raise DamagedError(f"{path}: not a whole file of event frames ({reason})") from None


def _facts(path: Path, reader: Any) -> FrameFacts:
    metadata = reader.schema.metadata or {}
    stored = metadata.get(_METADATA)
    if stored is None:
        raise DamagedError(f"{path}: an Arrow file, but not one of event frames")
    if metadata.get(_METADATA_SHA256) != _sha256(stored):
        raise DamagedError(f"{path}: what it says of itself was altered")
    values = json.loads(stored)
    return FrameFacts(
        **{**values, "shape": tuple(values["shape"]), "skipped": tuple(values["skipped"])}
    )


def _sha256(stored: bytes) -> bytes:
    return hashlib.sha256(stored).hexdigest().encode()


def _rows(path: Path, reader: Any, split: str) -> Rows:
    facts = _facts(path, reader)
    batch = reader.get_batch(SPLITS.index(split))
    count = facts.num_samples[split]
    values = np.frombuffer(batch.column(0).storage.values.buffers()[1], facts.dtype)
    labels = np.frombuffer(batch.column(1).buffers()[1], np.int64)
    size = count * int(np.prod(facts.shape))
    if len(batch) != count or len(values) < size or len(labels) < count:
        raise DamagedError(f"{path}: {len(batch)} rows of '{split}', its header says {count}")
    return values[:size].reshape(count, *facts.shape), labels[:count]
