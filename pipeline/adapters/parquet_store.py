"""The result store as Parquet files: one file per block, whole or absent."""

import hashlib
import logging
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DamagedError
from pipeline.files import StorePath, set_aside, write_atomically
from pipeline.records import Block, BlockKey
from pipeline.threats import GRADIENTS, MEASURE, PROBE

FOLDERS = {MEASURE: "measurements", PROBE: "probes", GRADIENTS: "gradients"}
"""Where what is no verdict lies."""


SUM = b"content_sha256"
LOG = logging.getLogger(__name__)


class ParquetStore:
    """Blocks below a folder, or a prefix of an object store.

    Each file carries the SHA-256 of its content. One that is cut short or altered is set aside
    the first time it is looked at, and its block is absent: it is computed again.
    """

    def __init__(self, root: StorePath, damaged: Callable[[str], None] = LOG.warning) -> None:
        """Open a store.

        Args:
            root: A folder, or a place in an object store.
            damaged: Called with a sentence for each file that is set aside.
        """
        self.root, self._damaged = root, damaged
        self._sound: set[BlockKey] = set()

    def path(self, key: BlockKey) -> StorePath:
        """Where a block lies, or would lie."""
        kind = FOLDERS.get(key.member, "verdicts")
        name = f"{key.member}-{key.member_hash}-{key.seed}-{key.start}-{key.stop}.parquet"
        return self.root / kind / key.fingerprint / key.split / name

    def has(self, key: BlockKey) -> bool:
        """Whether the block is there, whole."""
        path = self.path(key)
        if not path.is_file():
            return False
        if key not in self._sound:
            try:
                _read(path)
            except DamagedError as error:
                self._damaged(f"{error}; set aside as {set_aside(path).name}, computed again")
                return False
            self._sound.add(key)
        return True

    def put(self, key: BlockKey, block: Block) -> None:
        """Write a block; the first one stays."""
        if self.has(key):
            return
        table = pa.table(dict(block.columns)).replace_schema_metadata(block.metadata)
        told = {SUM: _sum(table).encode()} | dict(table.schema.metadata or {})
        sink = pa.BufferOutputStream()
        pq.write_table(
            table.replace_schema_metadata(told),
            sink,
            compression="zstd",
            use_compliant_nested_type=False,  # would rename what a list holds, and change the sum
        )
        write_atomically(self.path(key), sink.getvalue().to_pybytes())
        self._sound.add(key)

    def get(self, key: BlockKey) -> Block:
        """Read a block.

        Raises:
            KeyError: It is not there.
            DamagedError: It is not what was written.
        """
        path = self.path(key)
        if not path.is_file():
            raise KeyError(f"{path}: no such block")
        table = _read(path)
        metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        metadata.pop(SUM.decode(), None)
        columns = {
            name: np.asarray(table[name].to_numpy(zero_copy_only=False))
            for name in table.column_names
        }
        return Block(columns=columns, metadata=metadata)

    def merge(self, keys: Sequence[BlockKey], out: StorePath) -> None:
        """Write the rows of many blocks as one file, for people and for MLflow."""
        tables = [_read(self.path(key)).replace_schema_metadata(None) for key in keys]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.concat_tables(tables), sink, compression="zstd")
        write_atomically(out, sink.getvalue().to_pybytes())


def _sum(table: pa.Table) -> str:
    """SHA-256 of a table's names, types, values and metadata, hexadecimal."""
    about = sorted(item for item in (table.schema.metadata or {}).items() if item[0] != SUM)
    result = hashlib.sha256(repr([about, table.schema.remove_metadata().to_string()]).encode())
    for column in table.columns:
        result.update(repr(column.to_pylist()).encode())
    return result.hexdigest()


def _read(path: StorePath) -> pa.Table:
    """A block's table.

    Raises:
        DamagedError: It cannot be read, or is not what was written.
    """
    data = path.read_bytes()
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read()
    except (pa.ArrowException, OSError) as error:
        raise DamagedError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    if (table.schema.metadata or {}).get(SUM, b"").decode() != _sum(table):
        raise DamagedError(f"{path}: is not what was written (its SHA-256 differs)")
    return table
