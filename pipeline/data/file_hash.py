"""SHA-256 of data files, which names data by what it is and not by where it lies."""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path


def file_hashes(files: Sequence[Path]) -> list[str]:
    """The files' SHA-256 sums, in the given order."""
    stats = [(path, path.stat()) for path in files]
    return [_sha256(path.resolve(), stat.st_size, stat.st_mtime_ns) for path, stat in stats]


@functools.lru_cache(maxsize=4096)
def _sha256(path: Path, size: int, modified_ns: int) -> str:
    """Hash of a file; cached, as every trial of a sweep asks for its configuration's identity."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
