"""The result store as Parquet files: one file per block, whole or absent."""

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import DamagedError
from pipeline.files import StorePath, set_aside, write_atomically
from pipeline.recheck_file import block_files
from pipeline.records import Block, BlockKey

FOLDERS = {"measure": "measurements", "probe": "probes", "gradients": "gradients"}
"""Where what is no verdict lies, by the pseudo-member's name (`pipeline.threats.MEASURED`, which is
not imported: reports look at blocks without torch)."""
Break = tuple[int, str, float]
BREAK = ("sample", "threat", "epsilon")
"""What names a break: one image is kept of each."""
EVIDENCE = "evidence"
"""Where the images lie that broke samples, in files named as the verdicts' are."""


SUM = b"content_sha256"
_NAME = re.compile(
    r"(?P<member>.+)-(?P<hash>[0-9a-f]{12})-(?P<seed>-?\d{1,20})-(?P<start>\d{1,12})-(?P<stop>\d{1,12})\.parquet"
)
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
        self._proven: dict[StorePath, set[Break]] = {}

    def path(self, key: BlockKey) -> StorePath:
        """Where a block lies, or would lie."""
        return self._place(FOLDERS.get(key.member, "verdicts"), key)

    def _place(self, kind: str, key: BlockKey) -> StorePath:
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
        if not self.has(key):
            self.replace(key, block)

    def replace(self, key: BlockKey, block: Block) -> None:
        """Write a block in place of the one that is there: a reader meets the one or the other."""
        if block.evidence is not None:
            # First, so that a verdict that is there has its evidence.
            self._put_evidence(key, block.evidence, block.metadata)
        _write(self.path(key), block.columns, block.metadata)
        self._sound.add(key)

    def _put_evidence(
        self, key: BlockKey, evidence: dict[str, Any], metadata: dict[str, str]
    ) -> None:
        """Keep the images of breaks that have none yet."""
        path = self._place(EVIDENCE, key)
        known = self._proven_in(path.parent)
        if path.is_file():
            # Of a run that was interrupted, or of a block whose verdicts were set aside.
            known -= _breaks(_read(path))
        named = list(zip(*(evidence[name].tolist() for name in BREAK), strict=True))
        new = np.array([name not in known for name in named], dtype=bool)
        if new.any():
            _write(path, {name: values[new] for name, values in evidence.items()}, metadata)
            known.update(named)
        elif path.is_file():
            path.unlink()

    def _proven_in(self, folder: StorePath) -> set[Break]:
        """Breaks whose evidence lies in a folder."""
        if folder not in self._proven:
            found = self._proven.setdefault(folder, set())
            for path in block_files(folder):
                try:
                    table = _read(path)
                except DamagedError as error:
                    self._damaged(f"{error}; set aside as {set_aside(path).name}")
                    continue
                found |= _breaks(table)
        return self._proven[folder]

    def lacks_evidence(self, key: BlockKey) -> bool:
        """Whether a block of an exact judge says that it broke a sample of which no image is kept.

        Another block's image may have been, which has since been computed again.
        """
        if self.about(key).get("judge") != "exact" or key.member in FOLDERS:
            return False
        table = _read(self.path(key))
        claimed = table.filter(pc.and_(table["attacked"], pc.invert(table["robust"])))
        return not _breaks(claimed) <= self._proven_in(self._place(EVIDENCE, key).parent)

    def get(self, key: BlockKey) -> Block:
        """Read a block.

        Raises:
            KeyError: It is not there.
            DamagedError: It is not what was written.
        """
        path = self.path(key)
        if not path.is_file():
            raise KeyError(f"{path}: no such block")
        return read_block(path)

    def keys(self, fingerprint: str) -> list[BlockKey]:
        """What is stored of a network, by the files' names; what else lies there is passed over."""
        found = []
        for kind in ("verdicts", *FOLDERS.values()):
            for path in (self.root / kind / fingerprint).glob("*/*.parquet"):
                named = _NAME.fullmatch(path.name)
                if named is None:
                    continue
                key = BlockKey(
                    fingerprint=fingerprint,
                    split=path.parent.name,
                    member=named["member"],
                    member_hash=named["hash"],
                    **{name: int(named[name]) for name in ("seed", "start", "stop")},
                )
                if self.path(key) == path:
                    found.append(key)
        return sorted(found, key=lambda key: (key.split, key.member, key.start, key.member_hash))

    def about(self, key: BlockKey) -> dict[str, str]:
        """A block's metadata alone; its rows are not looked at.

        Raises:
            DamagedError: The file cannot be read.
        """
        path = self.path(key)
        try:
            source = path if isinstance(path, Path) else pa.BufferReader(path.read_bytes())
            told = pq.read_schema(source).metadata or {}
        except (pa.ArrowException, OSError) as error:
            raise DamagedError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
        return {k.decode(errors="replace"): v.decode(errors="replace") for k, v in told.items()}

    def merge(self, keys: Sequence[BlockKey], out: StorePath) -> None:
        """Write the rows of many blocks as one file, for people and for MLflow."""
        tables = [_read(self.path(key)).replace_schema_metadata(None) for key in keys]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.concat_tables(tables), sink, compression="zstd")
        write_atomically(out, sink.getvalue().to_pybytes())


def _breaks(table: pa.Table) -> set[Break]:
    """What a table of evidence proves."""
    return set(zip(*(table[name].to_pylist() for name in BREAK), strict=True))


def read_block(path: StorePath) -> Block:
    """The block of a file.

    Raises:
        DamagedError: It is not what was written.
    """
    table = _read(path)
    metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    metadata.pop(SUM.decode(), None)
    columns = {
        name: np.asarray(table[name].to_numpy(zero_copy_only=False)) for name in table.column_names
    }
    return Block(columns=columns, metadata=metadata)


def _write(path: StorePath, columns: dict[str, Any], metadata: dict[str, str]) -> None:
    table = pa.table(dict(columns)).replace_schema_metadata(metadata)
    told = {SUM: _sum(table).encode()} | dict(table.schema.metadata or {})
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(told),
        sink,
        compression="zstd",
        use_compliant_nested_type=False,  # would rename what a list holds, and change the sum
    )
    write_atomically(path, sink.getvalue().to_pybytes())


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
