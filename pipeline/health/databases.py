"""Whether a database answers, and whether an SQLite file is whole."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

from pipeline.health.addresses import redacted, sqlite_file, without_password
from pipeline.health.finding import Finding, one_line
from pipeline.health.mounts import network_file_system

TIMEOUT_S = 5


def check_database(name: str, url: str, setting: str) -> Iterator[Finding]:
    """Findings on a database that is to be written to.

    Args:
        name: Of the check.
        url: As SQLAlchemy writes it.
        setting: Name of the variable that the address came from.
    """
    file = sqlite_file(url)
    if file is not None:
        yield from _check_file(name, file, setting)
        return
    shown = without_password(url)
    try:
        tables = table_names(url)
    except ModuleNotFoundError as error:
        yield Finding.fail(
            name,
            f"{shown} needs the Python package {error.name}, which is absent.",
            "Write postgresql+psycopg2:// and `pip install psycopg2-binary`.",
        )
    except Exception as error:  # each database has errors of its own
        reason = redacted(one_line(getattr(error, "orig", None) or error), url)
        yield Finding.fail(
            name,
            f"{shown} does not let us in: {reason}.",
            f"Start the database, or correct {setting}; the password may stand in PGPASSFILE's "
            "file.",
        )
    else:
        filled = f"{len(tables)} tables" if tables else "no table yet; the first sweep makes them"
        yield Finding.ok(name, f"{shown} answers, with {filled}.")


def table_names(url: str) -> list[str]:
    """Names of a database's tables, from a connection that is closed again."""
    arguments = {"connect_timeout": TIMEOUT_S} if url.startswith("postgres") else {}
    engine = create_engine(url, poolclass=NullPool, connect_args=arguments)
    try:
        return list(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def _check_file(name: str, file: Path, setting: str) -> Iterator[Finding]:
    network = network_file_system(file)
    if network is not None:
        yield Finding.fail(
            name,
            f"{file} is SQLite on {network.kind} ({network.point}), where its locks do not hold "
            "and the file gets damaged.",
            f"Name a PostgreSQL database in {setting}, or a store on a local disk.",
        )
        return
    if not file.exists():
        yield Finding.ok(name, f"{file} is not there yet; the first sweep makes it.")
        return
    problem = _damage(file)
    if problem:
        yield Finding.fail(
            name,
            f"{file} is damaged: {problem}.",
            "Move it away or bring back a copy, then run the sweep again: networks and verdicts "
            "in the store are used again.",
        )
    elif not os.access(file, os.W_OK):
        yield Finding.fail(name, f"{file} may not be written to.", "Change its owner or mode.")
    else:
        size = file.stat().st_size / 2**20
        yield Finding.ok(name, f"{file} is whole ({size:.1f} MiB; PRAGMA quick_check).")


def _damage(file: Path) -> str:
    """What SQLite finds wrong with a file, which it only reads; empty where nothing is."""
    try:
        connection = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=5)
        try:
            answers = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
        finally:
            connection.close()
    except sqlite3.Error as error:
        return one_line(error)
    return "" if answers == ["ok"] else one_line("; ".join(answers))
