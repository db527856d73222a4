"""What the doctor asks of MLflow: does it answer, and does it let us in."""

import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from mlflow.tracking import MlflowClient

from pipeline.health.addresses import redacted, sqlite_file, without_password
from pipeline.health.databases import check_database, table_names
from pipeline.health.finding import Finding, Status, one_line, within

URI = "MLFLOW_TRACKING_URI"
NAME = "MLflow"
TIMEOUT_S = 5.0
"""For all questions together."""
HOST_CHECK = "invalid host header"


def check_mlflow(store: Path) -> Iterator[Finding]:
    """Findings on the tracking server, or on the store's own database."""
    uri = os.environ.get(URI) or f"sqlite:///{(store / 'mlflow.db').absolute()}"
    kind = uri.partition(":")[0].partition("+")[0]
    if kind in ("http", "https"):
        yield from _check_server(uri)
    elif kind in ("sqlite", "postgresql", "mysql", "mssql"):
        yield from _check_database(uri)
    elif kind in ("file", uri):
        yield Finding.fail(
            NAME,
            f"{without_password(uri)} is a folder, and MLflow keeps no runs in folders any more.",
            f"Unset {URI}, or name a server or a database in it.",
        )
    else:
        yield Finding.skipped(
            NAME,
            f"{without_password(uri)} is neither a server's address nor a database.",
            f"Correct {URI} if that was not meant.",
        )


def _check_server(uri: str) -> Iterator[Finding]:
    shown, began = without_password(uri), time.monotonic()
    try:
        within(TIMEOUT_S, lambda: _get(f"{uri.rstrip('/')}/health"))
    except urllib.error.HTTPError as error:
        yield Finding.fail(
            NAME,
            f"{shown} answers {error.code} to /health: it is no MLflow, or one behind a gate.",
            f"Correct {URI}, including its port and path.",
        )
        return
    except (OSError, ValueError) as error:
        reason = redacted(one_line(getattr(error, "reason", None) or error), uri)
        yield Finding.fail(
            NAME,
            f"No server answers at {shown}: {reason}.",
            f"Start it, correct {URI}, or unset it to write into the store.",
        )
        return
    left = max(0.5, TIMEOUT_S - (time.monotonic() - began))
    try:
        within(left, lambda: _search(uri))
    except Exception as error:  # MLflow wraps whatever the server says
        yield _refused(shown, redacted(one_line(error), uri))
    else:
        yield Finding.ok(NAME, f"{shown} answers, and lets us read its experiments.")


def _get(address: str) -> None:
    with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
        answer.read(1024)


def _search(uri: str) -> None:
    MlflowClient(tracking_uri=uri).search_experiments(max_results=1)


def _refused(shown: str, reason: str) -> Finding:
    """An MLflow that is alive and says no."""
    if HOST_CHECK in reason.lower():
        return Finding.fail(
            NAME,
            f"{shown} refuses the name it is called by (its Host check answers 403).",
            "Start the server with --allowed-hosts naming this host and port, or with "
            "MLFLOW_SERVER_ALLOWED_HOSTS; leave the check itself on.",
        )
    if "401" in reason or "UNAUTHENTICATED" in reason:
        return Finding.fail(
            NAME,
            f"{shown} asks for a user and a password: {reason}.",
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
        )
    return Finding.fail(
        NAME,
        f"{shown} is alive, but does not list its experiments: {reason}.",
        f"Look into the server's log, or correct {URI}.",
    )


def _check_database(uri: str) -> Iterator[Finding]:
    findings = list(check_database(NAME, uri, URI))
    file = sqlite_file(uri)
    there = file is None or file.exists()
    if there and all(finding.status is Status.OK for finding in findings):
        try:
            # On a database without tables MLflow would make them: nothing is to be changed here.
            if "experiments" in table_names(uri):
                within(TIMEOUT_S, lambda: _search(uri))
        except Exception as error:  # an older layout, above all
            yield Finding.fail(
                NAME,
                f"MLflow cannot read {without_password(uri)}: {redacted(one_line(error), uri)}.",
                f"Run `mlflow db upgrade` if an older MLflow made it; else correct {URI}.",
            )
            return
    yield from findings
