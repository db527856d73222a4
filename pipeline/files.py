"""Files that are either whole or not there, on a disk or in an object store."""

import errno
import os
import secrets
import uuid
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.object_path import SCHEME, ObjectPath, StoreUnreachableError

StorePath = Path | ObjectPath
"""A place in a store."""


def store_path(text: str) -> StorePath:
    """The place that a text names: a path, or `s3://bucket/prefix`.

    Raises:
        ConfigError: It names no bucket.
    """
    scheme, separator, key = text.partition("://")
    if not separator:
        return Path(text)
    if f"{scheme}{separator}" != SCHEME or not key.strip("/") or {"..", "."} & {*key.split("/")}:
        raise ConfigError(f"expected a path or s3://bucket/prefix, got '{text}'")
    return ObjectPath(key.strip("/"))


def local_folder(store: StorePath) -> Path:
    """Where a store's databases, locks and pages lie: itself, if it is a folder."""
    return store.below_runs if isinstance(store, ObjectPath) else store


def modified_ns(path: StorePath) -> int:
    """When a file was written, in nanoseconds; 0 if it is not there."""
    if isinstance(path, ObjectPath):
        return path.modified_ns()
    return path.stat().st_mtime_ns if path.is_file() else 0


def read_start(path: StorePath, count: int) -> bytes:
    """The first bytes of a file, all if it is shorter.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if isinstance(path, ObjectPath):
        return path.read_bytes(count)
    with path.open("rb") as file:
        return file.read(count)


def open_store(store: StorePath) -> StorePath:
    """The store, made if absent.

    Raises:
        ConfigError: It cannot be made or written to.
    """
    if isinstance(store, ObjectPath):
        probe = store / f".probe-{secrets.token_hex(8)}"
        try:
            probe.write_bytes(b"may this be written?")
            probe.unlink()
        except OSError as error:
            raise ConfigError(
                f"--store: {error}; check the bucket's name, AWS_ENDPOINT_URL, AWS_REGION and the "
                "credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
            ) from error
    open_folder(local_folder(store))
    return store


def open_folder(path: Path) -> Path:
    """The folder, made if absent.

    Raises:
        ConfigError: It cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"--store: {path} cannot be made a folder ({reason}); give another one"
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError(f"--store: {path} may not be written to; give another folder")
    return path


def write_atomically(path: StorePath, data: bytes) -> None:
    """Replace a file's content so that a reader or a crash meets the old or the new, whole."""
    if isinstance(path, ObjectPath):
        path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Threads, and hosts on which processes have the same numbers, write the same files, too.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _keep_name(path.parent)


def _keep_name(folder: Path) -> None:
    """Put a folder's entries on the disk: a new name outlives a loss of power only then."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # file systems that cannot do so do it by themselves
        pass
    finally:
        os.close(descriptor)


def set_aside(path: StorePath) -> StorePath:
    """Rename a damaged file, so that it is made again and people can look; returns its new name."""
    for number in range(1, 10_000):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        if not aside.exists():
            path.replace(aside)  # type: ignore[arg-type]  # both are of one kind
            return aside
    raise FileExistsError(f"{path}: thousands of damaged copies; remove them")


def takes_nothing(error: BaseException | None) -> str:
    """Why a store took nothing; empty where neither the error nor one that led to it says so.

    Reasons are a full disk, a quota that is used up, and an object store out of reach.
    """
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        # The last in SQLite's words.
        if full or isinstance(error, StoreUnreachableError) or "disk is full" in str(error):
            return str(error)
        error = error.__cause__ or error.__context__
    return ""
