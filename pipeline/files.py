"""Files that are either whole or not there."""

import errno
import os
import uuid
from pathlib import Path

from pipeline.errors import ConfigError


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


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content so that a reader or a crash meets the old or the new, whole."""
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


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that it is made again and people can look; returns its new name."""
    for number in range(1, 10_000):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        if not aside.exists():
            path.replace(aside)
            return aside
    raise FileExistsError(f"{path}: thousands of damaged copies; remove them")


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that the disk or a quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "database or disk is full" in str(error):  # SQLite's words
            return True
        error = error.__cause__ or error.__context__
    return False
