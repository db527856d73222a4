"""Studies in MLflow, whether or not its server is there.

All calls run in a thread of their own, so neither training nor the search waits for a server. They
are kept in a file first: what a server that is away did not take is sent when it is back, or by
`--resume`. What a call then does there is in `mlflow_runs`.
"""

import dataclasses
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.adapters.mlflow_runs import MLflowRuns
from pipeline.adapters.mlflow_view import view_path
from pipeline.adapters.spool import Spool
from pipeline.files import store_path
from pipeline.records import Showcase, TrialRow, UsedData

LOCAL_UI = "http://127.0.0.1:5000"
"""Where `make ui` serves a local store."""
RETRY_S = 15.0
"""Between tries at a server that is away."""
POLL_S = 0.1
PERMANENT = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST")
"""Answers that will be the same next time."""
ASKED = ("label", "fingerprint", "role", "strategy", "method", "parameters", "config")
"""Of a row, what is known when it is asked for."""
ON_HOST = "MLFLOW_ON_HOST"
"""Where people's browsers find the server, if not where the sweep does."""


class MLflowTracker:
    """Writes to a tracking server, or to a database by its URI."""

    def __init__(self, uri: str, experiment: str, artifacts: Path | None, spool: Path) -> None:
        """Connect lazily; nothing is sent before the first call.

        Args:
            uri: Tracking URI, such as `sqlite:///runs/mlflow.db` or `http://mlflow:5000`.
            experiment: Name of the experiment; one is made if there is none.
            artifacts: Folder of a new experiment's artifacts; None lets the server choose.
            spool: File in which calls wait for the server.
        """
        # MLflow's defaults retry a dead server for minutes; these two are read at each call.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        self._uri, self._sweep = uri, ""
        self._spool = Spool(spool, receiver=_shown(uri))
        self._runs = MLflowRuns(uri, experiment, artifacts, self._spool.send_all_again)
        self._problems = self._runs.problems
        if self._spool.damaged:
            self._problems.append(self._spool.damaged)
        self._trouble = ""
        """Why the last try failed; empty if it did not."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._deliver_all, name="mlflow", daemon=True)

    def _deliver_all(self) -> None:
        """Send what waits, in order; try again at a server that is away."""
        while True:
            try:
                if self._spool.deliver(self._deliver):
                    self._trouble = ""
                elif self._closing.is_set():
                    return
                else:
                    time.sleep(POLL_S)
            except Exception as error:  # a server's trouble must not touch the study
                self._trouble = self._why(error)
                if self._closing.is_set() or self._closing.wait(RETRY_S):
                    # One last try, now that there is nothing else to wait for.
                    try:
                        while self._spool.deliver(self._deliver):
                            self._trouble = ""
                    except Exception as last:
                        self._trouble = self._why(last)
                    return

    def _deliver(self, what: str, values: dict[str, Any]) -> None:
        """One call of the spool; what the server will never take is noted and left behind."""
        self._runs.open(self._sweep)
        try:
            getattr(self._runs, f"send_{what}")(**values)
        except MlflowException as error:
            if error.error_code not in PERMANENT:
                raise
            self._problems.append(f"MLflow refused {what}: {self._why(error)}")

    def _why(self, error: Exception) -> str:
        """An error for people, without the password that the address may hold."""
        text = f"{type(error).__name__}: {error}".replace(self._uri, _shown(self._uri))
        return text[:300]

    def start_sweep(
        self,
        name: str,
        parameters: dict[str, Any],
        files: Sequence[str],
        searched: Sequence[str] = (),
    ) -> None:
        """Open or find the sweep's run; files are logged with it."""
        self._sweep = name
        values = {"name": name, "parameters": parameters, "files": _absolute(files)}
        # Not once: a resumed sweep runs again.
        self._spool.append("start_sweep", values | {"searched": list(searched)}, name="")
        if not self._thread.is_alive():
            self._thread.start()

    @property
    def page(self) -> str:
        """Address of the study's view in MLflow's UI, once something was delivered; else empty."""
        if not self._runs.sweep_run:
            return ""
        served = _shown(self._uri) if self._uri.startswith("http") else LOCAL_UI
        base = os.environ.get(ON_HOST) or served
        return f"{base.rstrip('/')}/{view_path(self._runs.experiment_id)}"

    def start_trial(self, row: TrialRow) -> None:
        """Open or find the trial's run below the sweep's."""
        self._spool.append("start_trial", {"row": _as_asked(row)})

    def log_epoch(self, fingerprint: str, epoch: int, metrics: dict[str, float]) -> None:
        """A point of the trial's training curves; the trial was started before."""
        curves = {f"curve/{name}": value for name, value in metrics.items()}
        values = {"fingerprint": fingerprint, "epoch": epoch, "curves": curves}
        # By its name: an epoch that is trained again, after a crash, took other seconds.
        self._spool.append("log_epoch", values, name=f"{fingerprint} {epoch}")

    def log_data(self, fingerprint: str, used: Sequence[UsedData]) -> None:
        """Data that a trial's network has met, or, without a fingerprint, that the sweep uses."""
        splits = [dataclasses.asdict(split) for split in used]
        self._spool.append("log_data", {"fingerprint": fingerprint, "used": splits})

    def finish_trial(
        self,
        row: TrialRow,
        metrics: dict[str, float],
        artifacts: Iterable[str],
        tags: Mapping[str, str] | None = None,
        network: Iterable[str] = (),
    ) -> None:
        """Final metrics, outcome and files of a trial."""
        self._spool.append(
            "finish_trial",
            {
                "row": dataclasses.asdict(row),
                "metrics": metrics,
                "artifacts": _absolute(artifacts),
                "tags": dict(tags or {}),
                "network": _absolute(network),
            },
        )

    def show(self, showcase: Showcase) -> None:
        """What the finished study adds: its note, its front, and the networks to register."""
        # Not once: a longer search may go back to what an earlier one had shown.
        self._spool.append("show", dataclasses.asdict(showcase), name="")

    def finish_sweep(
        self, metrics: dict[str, float], artifacts: Iterable[str], *, complete: bool
    ) -> None:
        """Final numbers and the report of the sweep."""
        self._spool.append(
            "finish_sweep",
            {"metrics": metrics, "artifacts": _absolute(artifacts), "complete": complete},
            name="",
        )

    def close(self) -> list[str]:
        """Deliver what is waiting; returns what could not be delivered, a line each.

        A server that is away is tried once more, which may take a minute.
        """
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._spool.waiting:
            self._problems.append(
                f"MLflow at {_shown(self._uri)} did not take {self._spool.waiting} entries, which "
                f"wait in the store; --resume sends them ({self._trouble or 'not started'})"
            )
        return self._problems


def _absolute(files: Iterable[str]) -> list[str]:
    return [str(store_path(file).absolute()) for file in files]


def _as_asked(row: TrialRow) -> dict[str, Any]:
    """A row as it was when it was asked for: what became of it since is told at its end."""
    return dataclasses.asdict(TrialRow(**{name: getattr(row, name) for name in ASKED}))


def _shown(uri: str) -> str:
    """The server's address without a password."""
    scheme, found, rest = uri.partition("://")
    return scheme + found + rest.rpartition("@")[2]


def initialize_database(uri: str) -> None:
    """Create MLflow's tables; one process must do so before several use a new database."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It prints whole tracebacks of what is told in a sentence, or mended by the next try.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    if uri.startswith("sqlite:"):
        MlflowClient(tracking_uri=uri).search_experiments(max_results=1)


def open_tracker(store: Path, name: str, spool: Path) -> MLflowTracker:
    """MLflow at MLFLOW_TRACKING_URI, or in the store; calls wait in the file `spool`."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        return MLflowTracker(uri, name, None, spool)
    uri = f"sqlite:///{(store / 'mlflow.db').absolute()}"
    initialize_database(uri)
    return MLflowTracker(uri, name, store / "artifacts", spool)
