"""Studies in MLflow: one run a sweep, one child run a trial.

All calls run in a thread of their own, so neither training nor the search waits for a server.
The store remains the truth; whatever did not reach MLflow is sent again by `--resume`.
"""

import json
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.records import Outcome, TrialRow

SWEEP, FINGERPRINT = "spikeproof.sweep", "spikeproof.fingerprint"
PARENT = "mlflow.parentRunId"
MAX_PARAM = 500
LOCAL_UI = "http://127.0.0.1:5000"
"""Where `make ui` serves a local store."""
MAX_REFUSED = 3
"""Failures in a row after which nothing more is sent: each costs seconds at a dead server."""
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

    def __init__(self, uri: str, experiment: str, artifacts: Path | None) -> None:
        """Connect lazily; nothing is sent before the first call.

        Args:
            uri: Tracking URI, such as `sqlite:///runs/mlflow.db` or `http://mlflow:5000`.
            experiment: Name of the experiment; one is made if there is none.
            artifacts: Folder of a new experiment's artifacts; None lets the server choose.
        """
        # MLflow's defaults retry a dead server for minutes; these two are read at each call.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        self._uri, self._experiment, self._artifacts = uri, experiment, artifacts
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._sweep = ""
        self._sweep_run = ""
        self._runs: dict[str, str] = {}
        self._problems: list[str] = []
        self._refused = 0
        self._calls: queue.SimpleQueue[tuple[str, Callable[[], None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._deliver, name="mlflow", daemon=True)
        self._thread.start()

    def _deliver(self) -> None:
        while (call := self._calls.get()) is not None:
            what, action = call
            if self._refused >= MAX_REFUSED:
                continue
            try:
                if self._client is None:
                    self._connect()
                self._open_sweep()
                action()
                self._refused = 0
            except Exception as error:  # a server's trouble must not touch the study
                self._refused += 1
                self._problems.append(f"{what}: {type(error).__name__}: {str(error)[:300]}")
                if self._refused == MAX_REFUSED:
                    self._problems.append(
                        f"nothing more was sent after {MAX_REFUSED} failures in a row; "
                        "--resume sends it all"
                    )

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

        def act() -> None:
            self._mlflow.update_run(self._sweep_run, status="RUNNING")
            self._prepare_view()
            self._log(self._sweep_run, parameters=parameters)
            for file in files:
                self._mlflow.log_artifact(self._sweep_run, file)

        self._calls.put((f"sweep {name}", act))

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
        base = self._uri if self._uri.startswith("http") else LOCAL_UI
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
                self._log(found.info.run_id, parameters=_trial_parameters(row))
            self._runs[row.fingerprint] = found.info.run_id
        return self._runs[row.fingerprint]

    def start_trial(self, row: TrialRow) -> None:
        """Open or find the trial's run below the sweep's."""
        self._calls.put((row.label, lambda: void(self._run_of(row))))

    def log_epoch(self, fingerprint: str, epoch: int, metrics: dict[str, float]) -> None:
        """A point of the trial's training curves; the trial was started before."""

        def act() -> None:
            curves = {f"curve/{name}": value for name, value in metrics.items()}
            self._log(self._runs[fingerprint], metrics=curves, step=epoch)

        self._calls.put((f"{fingerprint} epoch {epoch}", act))

    def finish_trial(
        self,
        row: TrialRow,
        metrics: dict[str, float],
        artifacts: Iterable[str],
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Final metrics, outcome and files of a trial."""
        files, further = list(artifacts), dict(tags or {})

        def act() -> None:
            run = self._run_of(row)
            tags = {"outcome": str(row.outcome or ""), "feasible": str(row.feasible).lower()}
            tags |= further
            if row.reason:
                tags["reason"] = row.reason[-4000:]
            self._log(run, metrics=metrics, tags=tags)
            for file in files:
                self._mlflow.log_artifact(run, file)
            status = "FINISHED" if row.outcome is Outcome.COMPLETE else "FAILED"
            self._mlflow.set_terminated(run, status)

        self._calls.put((row.label, act))

    def finish_sweep(
        self, metrics: dict[str, float], artifacts: Iterable[str], *, complete: bool
    ) -> None:
        """Final numbers and the report of the sweep."""
        paths = [Path(item) for item in artifacts]

        def act() -> None:
            self._log(self._sweep_run, metrics=metrics, tags={"complete": str(complete).lower()})
            for path in paths:
                log = self._mlflow.log_artifacts if path.is_dir() else self._mlflow.log_artifact
                log(self._sweep_run, str(path), *(["report"] if path.is_dir() else []))
            self._mlflow.set_terminated(self._sweep_run, "FINISHED" if complete else "KILLED")

        self._calls.put(("end of the sweep", act))

    def close(self) -> list[str]:
        """Deliver what is waiting; returns what could not be delivered, a line each."""
        self._calls.put(None)
        self._thread.join()
        return self._problems


def void(value: object) -> None:
    """Drop a value, so that a lambda fits where nothing is returned."""


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
    for name in ("mlflow", "mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if uri.startswith("sqlite:"):
        MlflowClient(tracking_uri=uri).search_experiments(max_results=1)


def open_tracker(store: Path, name: str) -> MLflowTracker:
    """MLflow at MLFLOW_TRACKING_URI, or in the store."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        return MLflowTracker(uri, name, None)
    uri = f"sqlite:///{(store / 'mlflow.db').absolute()}"
    initialize_database(uri)
    return MLflowTracker(uri, name, store / "artifacts")
