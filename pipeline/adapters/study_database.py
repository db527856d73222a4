"""Which database a store's studies lie in, and what to do where it cannot be opened."""

import os
from pathlib import Path

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import ConfigError
from pipeline.health.addresses import redacted, sqlite_file, without_password
from pipeline.health.finding import one_line

STUDY_URI = "SPIKEPROOF_STUDY_URI"
DATABASE_ERRORS = (SQLAlchemyError, StorageInternalError, ImportError, RuntimeError)
"""What SQLAlchemy and Optuna raise where a database cannot be opened or read."""


def study_database(store: Path) -> str:
    """Database of a store's studies: SPIKEPROOF_STUDY_URI, or a file in the store.

    SQLite must not lie on a network file system: a cluster names a PostgreSQL database, such as
    `postgresql+psycopg2://user@host/optuna` with the password in PGPASSFILE's file.
    """
    named = os.environ.get(STUDY_URI)
    return named or f"sqlite:///{(store / 'study.db').absolute()}"


def no_study_database(url: str, error: Exception) -> ConfigError:
    """The message for a database that raised this when it was opened; it has no password."""
    reason = redacted(one_line(getattr(error, "orig", None) or error), url)
    file, shown = sqlite_file(url), without_password(url)
    if isinstance(error, ImportError):
        return ConfigError(
            f"{STUDY_URI}: {shown} needs the Python package {error.name}, which is absent; write "
            "postgresql+psycopg2:// and pip install 'spikeproof[cluster]'"
        )
    if file is not None:
        return ConfigError(
            f"{file}: cannot be opened as the database of the studies ({reason}); move it away or "
            "bring back a copy, then run the sweep again: stored networks and verdicts are used"
        )
    return ConfigError(
        f"{STUDY_URI}: {shown} does not let us in ({reason}); start the database, or write its "
        "address, such as postgresql+psycopg2://USER@HOST/NAME"
    )
