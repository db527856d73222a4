"""Files that are either whole or not there."""

import os
import threading
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
    # Threads of one process write the same files, too.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
