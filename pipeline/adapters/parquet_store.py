"""The result store as Parquet files: one file per block, whole or absent."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files import write_atomically
from pipeline.records import Block, BlockKey
from pipeline.threats import MEASURE, PROBE

FOLDERS = {MEASURE: "measurements", PROBE: "probes"}
"""Where what is no verdict lies."""


class ParquetStore:
    """Blocks below a folder that every worker and reader sees."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: BlockKey) -> Path:
        """Where a block lies, or would lie."""
        kind = FOLDERS.get(key.member, "verdicts")
        name = f"{key.member}-{key.member_hash}-{key.seed}-{key.start}-{key.stop}.parquet"
        return self.root / kind / key.fingerprint / key.split / name

    def has(self, key: BlockKey) -> bool:
        """Whether the block is there."""
        return self.path(key).is_file()

    def put(self, key: BlockKey, block: Block) -> None:
        """Write a block; the first one stays."""
        if self.has(key):
            return
        table = pa.table(dict(block.columns)).replace_schema_metadata(block.metadata)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        write_atomically(self.path(key), sink.getvalue().to_pybytes())

    def get(self, key: BlockKey) -> Block:
        """Read a block.

        Raises:
            KeyError: It is not there.
        """
        path = self.path(key)
        if not path.is_file():
            raise KeyError(f"{path}: no such block")
        table = pq.read_table(path)
        metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        columns = {
            name: np.asarray(table[name].to_numpy(zero_copy_only=False))
            for name in table.column_names
        }
        return Block(columns=columns, metadata=metadata)

    def merge(self, keys: Sequence[BlockKey], out: Path) -> None:
        """Write the rows of many blocks as one file, for people and for MLflow."""
        tables = [pq.read_table(self.path(key)).replace_schema_metadata(None) for key in keys]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.concat_tables(tables), sink, compression="zstd")
        write_atomically(out, sink.getvalue().to_pybytes())
