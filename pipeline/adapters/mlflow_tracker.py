"""Studies in MLflow: one run a sweep, one child run a trial.

All calls run in a thread of their own, so neither training nor the search waits for a server. They
are kept in a file first: what a server that is away did not take is sent when it is back, or by
`--resume`.
"""

import dataclasses
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.adapters.spool import Spool
from pipeline.files import store_path
from pipeline.object_path import ObjectPath
from pipeline.records import Outcome, Phase, TrialRow

SWEEP, FINGERPRINT = "spikeproof.sweep", "spikeproof.fingerprint"
PARENT = "mlflow.parentRunId"
MAX_PARAM = 500
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
VIEW = "study"
COLUMNS = (
    "params.`lambda`",
    "params.`h`",
    "metrics.`clean_accuracy`",
    "metrics.`robust_accuracy`",
    "metrics.`test_clean_accuracy`",
    "metrics.`test_robust_accuracy`",
    "tags.`audit`",
    "metrics.`margin_gradient_l1`",
    "tags.`strategy`",
    "tags.`outcome`",
)
"""Of the prepared view."""
SHORT = {
    "strategy.sparsity_weight": "lambda",
    "strategy.finite_difference_step": "h",
}
"""The paper's letters, under which people look for these."""


def _short(path: str) -> str:
    return SHORT.get(path, path.removeprefix("strategy.").removeprefix("training."))


def run_name(row: TrialRow) -> str:
    """What the runs' list shows: `sr-004 lambda=0.05`."""
    values = [
        f"{_short(path)}={value:.3g}" if isinstance(value, float) else f"{_short(path)}={value}"
        for path, value in row.parameters.items()
    ]
    return " ".join([row.label, *values])


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted path."""
    result: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            result |= _flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result


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
        self._uri, self._experiment, self._artifacts = uri, experiment, artifacts
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._sweep = ""
        self._sweep_run = ""
        self._runs: dict[str, str] = {}
        self._spool = Spool(spool, receiver=_shown(uri))
        self._problems = [self._spool.damaged] if self._spool.damaged else []
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
        if self._client is None:
            self._connect()
        if what == "start_sweep":
            self._sweep = values["name"]
        self._open_sweep()
        try:
            getattr(self, f"_send_{what}")(**values)
        except MlflowException as error:
            if error.error_code not in PERMANENT:
                raise
            self._problems.append(f"MLflow refused {what}: {self._why(error)}")

    def _why(self, error: Exception) -> str:
        """An error for people, without the password that the address may hold."""
        text = f"{type(error).__name__}: {error}".replace(self._uri, _shown(self._uri))
        return text[:300]

    def _connect(self) -> None:
        client = MlflowClient(tracking_uri=self._uri)
        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            location = None
            if self._artifacts is not None:
                location = (self._artifacts / self._experiment).absolute().as_uri()
            self._experiment_id = client.create_experiment(self._experiment, location)
        else:
            self._experiment_id = found.experiment_id
        self._client = client

    @property
    def _mlflow(self) -> MlflowClient:
        assert self._client is not None
        return self._client

    def _find(self, tags: dict[str, str]) -> Run | None:
        text = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        found = self._mlflow.search_runs([self._experiment_id], text, max_results=1)
        return found[0] if found else None

    def start_sweep(self, name: str, parameters: dict[str, Any], files: Sequence[str]) -> None:
        """Open or find the sweep's run; files are logged with it."""
        self._sweep = name
        # Not once: a resumed sweep runs again.
        self._spool.append(
            "start_sweep",
            {"name": name, "parameters": parameters, "files": _absolute(files)},
            name="",
        )
        if not self._thread.is_alive():
            self._thread.start()

    def _send_start_sweep(self, name: str, parameters: dict[str, Any], files: list[str]) -> None:
        self._mlflow.update_run(self._sweep_run, status="RUNNING")
        self._prepare_view()
        self._log(self._sweep_run, parameters=parameters)
        self._log_files(self._sweep_run, files)

    def _open_sweep(self) -> None:
        """Find or make the sweep's run, which every other run hangs below."""
        if self._sweep_run:
            return
        tags = {SWEEP: self._sweep, "kind": "sweep"}
        found = self._find(tags)
        if found is None:
            found = self._mlflow.create_run(
                self._experiment_id, run_name=f"sweep {self._sweep}", tags=tags
            )
            # Whatever this server was sent before, it has it no longer.
            self._spool.send_all_again()
        self._sweep_run = found.info.run_id

    def _prepare_view(self) -> None:
        """A shared view with the columns a study is browsed by, its trials unfolded.

        MLflow's own default shows no metric and folds the trials away; its "share" button stores
        views in this tag.
        """
        view = {
            "orderByKey": "metrics.`robust_accuracy`",
            "orderByAsc": False,
            "selectedColumns": list(COLUMNS),
            "runsExpanded": {self._sweep_run: True},
        }
        client, experiment = self._mlflow, self._experiment_id
        client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{VIEW}", json.dumps(view))
        client.set_experiment_tag(experiment, "mlflow.experimentKind", "custom_model_development")
        note = f"[Trials by robust accuracy]({self._view_path()}), the view to start from."
        client.set_experiment_tag(experiment, "mlflow.note.content", note)

    def _view_path(self) -> str:
        return f"#/experiments/{self._experiment_id}/runs?viewStateShareKey={VIEW}"

    @property
    def page(self) -> str:
        """Address of the study's view in MLflow's UI, once something was delivered; else empty."""
        if not self._sweep_run:
            return ""
        served = _shown(self._uri) if self._uri.startswith("http") else LOCAL_UI
        base = os.environ.get(ON_HOST) or served
        return f"{base.rstrip('/')}/{self._view_path()}"

    def _log(
        self,
        run: str,
        *,
        parameters: dict[str, Any] | None = None,
        metrics: dict[str, float] | None = None,
        step: int = 0,
        tags: dict[str, str] | None = None,
    ) -> None:
        """One request. A metric logged twice at the same time and step stays one point."""
        params = [Param(k, str(v)[:MAX_PARAM]) for k, v in (parameters or {}).items()]
        points = [Metric(k, v, step, step) for k, v in (metrics or {}).items() if v == v]
        labels = [RunTag(k, v) for k, v in (tags or {}).items()]
        try:
            self._mlflow.log_batch(run, metrics=points, params=params, tags=labels)
        except MlflowException as error:
            # Parameters are written once in MLflow; a resumed sweep brings the same again.
            if "params" not in str(error).lower() and "param" not in str(error).lower():
                raise
            self._mlflow.log_batch(run, metrics=points, tags=labels)

    def _run_of(self, row: TrialRow) -> str:
        if row.fingerprint not in self._runs:
            key = {SWEEP: self._sweep, FINGERPRINT: row.fingerprint}
            found = self._find(key)
            if found is None:
                tags = key | {
                    PARENT: self._sweep_run,
                    "kind": "trial",
                    "label": row.label,
                    "strategy": row.strategy,
                    "method": row.method,
                    "role": row.role,
                }
                found = self._mlflow.create_run(
                    self._experiment_id, run_name=run_name(row), tags=tags
                )
            self._runs[row.fingerprint] = found.info.run_id
        return self._runs[row.fingerprint]

    def _log_files(self, run: str, files: list[str], folder: str | None = None) -> None:
        for file in files:
            path = store_path(file)
            if isinstance(path, ObjectPath):
                self._log_object(run, path)
            elif path.is_dir():
                self._mlflow.log_artifacts(run, file, folder or path.name)
            elif path.is_file():
                self._mlflow.log_artifact(run, file)
            else:
                self._problems.append(f"{file}: is gone, and was not sent to MLflow")

    def _log_object(self, run: str, path: ObjectPath) -> None:
        """MLflow takes files alone."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            self._problems.append(f"{path}: is gone, and was not sent to MLflow")
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, path.name)
            copy.write_bytes(data)
            self._mlflow.log_artifact(run, str(copy))

    def start_trial(self, row: TrialRow) -> None:
        """Open or find the trial's run below the sweep's."""
        self._spool.append("start_trial", {"row": _as_asked(row)})

    def _send_start_trial(self, row: dict[str, Any]) -> None:
        asked = _row(row)
        self._log(self._run_of(asked), parameters=_trial_parameters(asked))

    def log_epoch(self, fingerprint: str, epoch: int, metrics: dict[str, float]) -> None:
        """A point of the trial's training curves; the trial was started before."""
        curves = {f"curve/{name}": value for name, value in metrics.items()}
        values = {"fingerprint": fingerprint, "epoch": epoch, "curves": curves}
        # By its name: an epoch that is trained again, after a crash, took other seconds.
        self._spool.append("log_epoch", values, name=f"{fingerprint} {epoch}")

    def _send_log_epoch(self, fingerprint: str, epoch: int, curves: dict[str, float]) -> None:
        run = self._runs.get(fingerprint)
        if run is None:
            found = self._find({SWEEP: self._sweep, FINGERPRINT: fingerprint})
            if found is None:
                self._problems.append(f"epoch {epoch} of {fingerprint}: its run is gone")
                return
            run = self._runs[fingerprint] = found.info.run_id
        self._log(run, metrics=curves, step=epoch)

    def finish_trial(
        self,
        row: TrialRow,
        metrics: dict[str, float],
        artifacts: Iterable[str],
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Final metrics, outcome and files of a trial."""
        self._spool.append(
            "finish_trial",
            {
                "row": dataclasses.asdict(row),
                "metrics": metrics,
                "artifacts": _absolute(artifacts),
                "tags": dict(tags or {}),
            },
        )

    def _send_finish_trial(
        self,
        row: dict[str, Any],
        metrics: dict[str, float],
        artifacts: list[str],
        tags: dict[str, str],
    ) -> None:
        ended = _row(row)
        run = self._run_of(ended)
        labels = {"outcome": str(ended.outcome or ""), "feasible": str(ended.feasible).lower()}
        if ended.reason:
            labels["reason"] = ended.reason[-4000:]
        self._log(run, metrics=metrics, tags=labels | tags)
        self._log_files(run, artifacts)
        status = {Outcome.COMPLETE: "FINISHED", Outcome.PRUNED: "KILLED"}.get(
            ended.outcome or Outcome.FAILED, "FAILED"
        )
        self._mlflow.set_terminated(run, status)

    def finish_sweep(
        self, metrics: dict[str, float], artifacts: Iterable[str], *, complete: bool
    ) -> None:
        """Final numbers and the report of the sweep."""
        self._spool.append(
            "finish_sweep",
            {"metrics": metrics, "artifacts": _absolute(artifacts), "complete": complete},
            name="",
        )

    def _send_finish_sweep(
        self, metrics: dict[str, float], artifacts: list[str], complete: bool
    ) -> None:
        self._log(self._sweep_run, metrics=metrics, tags={"complete": str(complete).lower()})
        self._log_files(self._sweep_run, artifacts, folder="report")
        self._mlflow.set_terminated(self._sweep_run, "FINISHED" if complete else "KILLED")

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


def _row(values: dict[str, Any]) -> TrialRow:
    outcome = values["outcome"]
    return TrialRow(
        **values
        | {
            "phase": Phase(values["phase"]),
            "outcome": None if outcome is None else Outcome(outcome),
        }
    )


def _shown(uri: str) -> str:
    """The server's address without a password."""
    scheme, found, rest = uri.partition("://")
    return scheme + found + rest.rpartition("@")[2]


def _trial_parameters(row: TrialRow) -> dict[str, Any]:
    """What people filter by: searched values under the paper's letters, then all settings."""
    settings = _flat({k: v for k, v in row.config.items() if k != "data"})
    named = {
        _short(path): value
        for path, value in settings.items()
        if path.startswith("strategy.") and value is not None
    }
    rest = {path: value for path, value in settings.items() if not path.startswith("strategy.")}
    data = {f"data.{key}": value for key, value in row.config.get("data", {}).items()}
    return named | rest | data


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
