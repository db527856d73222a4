"""One driver a sweep: a second one is refused, and a dead one holds nothing up."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy

from pipeline.adapters.study_database import DATABASE_ERRORS, no_study_database
from pipeline.errors import ConfigError
from pipeline.files import open_folder


@contextlib.contextmanager
def only_driver(database: str, folder: Path) -> Iterator[None]:
    """Hold the sweep's lock; it ends with this process, however that ends.

    A PostgreSQL database keeps the lock for all drivers that share it; else it is a file's, which
    the drivers of one machine see (on a network file system those of all, where it locks files).

    Args:
        database: Of the study, as SQLAlchemy writes it.
        folder: Of the sweep in the store; made if absent.

    Raises:
        ConfigError: Another driver holds it.
    """
    open_folder(folder)
    path = folder / "driver.lock"
    with contextlib.ExitStack() as held:
        file = held.enter_context(path.open("a+"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise _taken(folder.name, file.read().strip()) from error
        if database.startswith("postgresql"):
            held.enter_context(_advisory_lock(database, folder.name))
        file.truncate(0)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {started}")
        file.flush()
        yield


@contextlib.contextmanager
def _advisory_lock(database: str, name: str) -> Iterator[None]:
    """PostgreSQL's own: it lives as long as the connection."""
    with contextlib.ExitStack() as held:
        try:
            engine = sqlalchemy.create_engine(database, poolclass=sqlalchemy.pool.NullPool)
            connection = held.enter_context(engine.connect())
        except DATABASE_ERRORS as error:
            raise no_study_database(database, error) from error
        wanted = sqlalchemy.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
        if not connection.scalar(wanted, {"name": f"spikeproof sweep {name}"}):
            raise _taken(name, "")
        yield


def _taken(name: str, who: str) -> ConfigError:
    return ConfigError(
        f"another driver works on sweep '{name}' ({who or 'elsewhere'}): wait for it or stop it, "
        "or start another sweep with --name"
    )
