"""What a sweep's calls do on an MLflow server: one run a sweep, one child run a trial.

Each may be sent again: runs, versions and data sets are found by what they are, not made twice.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.adapters.mlflow_registry import NETWORK, dataset_input, register
from pipeline.adapters.mlflow_view import (
    VIEW,
    linked,
    model_name,
    run_name,
    run_path,
    shown,
    trial_parameters,
    view,
    view_path,
)
from pipeline.files import store_path
from pipeline.object_path import ObjectPath
from pipeline.records import NetworkVersion, Outcome, Phase, TrialRow, UsedData

SWEEP, FINGERPRINT = "spikeproof.sweep", "spikeproof.fingerprint"
PARENT = "mlflow.parentRunId"
NOTE, NOTE_DIGEST = "mlflow.note.content", "spikeproof.note_sha256"
"""What a page shows as its description, and what this wrote there last."""
MAX_PARAM = 500


class MLflowRuns:
    """The runs of one sweep; whatever `send_...` raises is the server's trouble."""

    def __init__(
        self, uri: str, experiment: str, artifacts: Path | None, on_new: Callable[[], None]
    ) -> None:
        """Connect at the first call.

        Args:
            uri: Tracking URI.
            experiment: Name of the experiment; one is made if there is none.
            artifacts: Folder of a new experiment's artifacts; None lets the server choose.
            on_new: Is called where the sweep had no run: whatever this server was sent before,
                it has it no longer.
        """
        self._uri, self._experiment, self._artifacts = uri, experiment, artifacts
        self._on_new = on_new
        self._client: MlflowClient | None = None
        self.experiment_id = ""
        self._sweep = ""
        self.sweep_run = ""
        """MLflow's id of the sweep's run; empty before the first call."""
        self._runs: dict[str, str] = {}
        self.problems: list[str] = []
        """What could not be sent, a line each."""

    def open(self, sweep: str) -> None:
        """Connect, and find or make the sweep's run."""
        if self._client is None:
            self._connect()
        self._sweep = sweep
        self._open_sweep()

    def _connect(self) -> None:
        client = MlflowClient(tracking_uri=self._uri)
        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            location = None
            if self._artifacts is not None:
                location = (self._artifacts / self._experiment).absolute().as_uri()
            self.experiment_id = client.create_experiment(self._experiment, location)
        else:
            self.experiment_id = found.experiment_id
        self._client = client

    @property
    def _mlflow(self) -> MlflowClient:
        assert self._client is not None
        return self._client

    def _find(self, tags: dict[str, str]) -> Run | None:
        text = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        found = self._mlflow.search_runs([self.experiment_id], text, max_results=1)
        return found[0] if found else None

    def _open_sweep(self) -> None:
        """Find or make the sweep's run, which every other run hangs below."""
        if self.sweep_run:
            return
        tags = {SWEEP: self._sweep, "kind": "sweep"}
        found = self._find(tags)
        if found is None:
            found = self._mlflow.create_run(
                self.experiment_id, run_name=f"sweep {self._sweep}", tags=tags
            )
            self._on_new()
        self.sweep_run = found.info.run_id

    def _prepare_view(self, searched: Sequence[str]) -> None:
        """A shared view with the columns a study is browsed by, its trials unfolded.

        MLflow's own default shows no metric and folds the trials away; its "share" button stores
        views in this tag.
        """
        state = json.dumps(view(self.sweep_run, searched))
        client, experiment = self._mlflow, self.experiment_id
        client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{VIEW}", state)
        client.set_experiment_tag(experiment, "mlflow.experimentKind", "custom_model_development")
        note = (
            f"[Trials by robust accuracy]({view_path(experiment)}), the view to start from; their "
            f"[charts and curves]({view_path(experiment, charts=True)}); "
            f"[the sweep]({run_path(experiment, self.sweep_run)}) with its front and its report."
        )
        client.set_experiment_tag(experiment, NOTE, note)

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
        params = [Param(k, shown(v)[:MAX_PARAM]) for k, v in (parameters or {}).items()]
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
        """Id of a trial's run, which is made where there is none."""
        found = self._known_run(row.fingerprint)
        if found:
            return found
        tags = {
            SWEEP: self._sweep,
            FINGERPRINT: row.fingerprint,
            PARENT: self.sweep_run,
            "kind": "trial",
            "label": row.label,
            "strategy": row.strategy,
            "method": row.method,
            "role": row.role,
        }
        made = self._mlflow.create_run(self.experiment_id, run_name=run_name(row), tags=tags)
        self._runs[row.fingerprint] = made.info.run_id
        return self._runs[row.fingerprint]

    def _known_run(self, fingerprint: str) -> str:
        """Id of the run of a trial that was started; empty where the server has none."""
        if fingerprint not in self._runs:
            found = self._find({SWEEP: self._sweep, FINGERPRINT: fingerprint})
            if found is None:
                return ""
            self._runs[fingerprint] = found.info.run_id
        return self._runs[fingerprint]

    def _log_files(self, run: str, files: list[str], folder: str | None = None) -> None:
        """Folders under their own name or as `folder`; files beside them, or in `folder`."""
        for file in files:
            path = store_path(file)
            if isinstance(path, ObjectPath):
                self._log_object(run, path, folder)
            elif path.is_dir():
                self._mlflow.log_artifacts(run, file, folder or path.name)
            elif path.is_file():
                self._mlflow.log_artifact(run, file, folder)
            else:
                self.problems.append(f"{file}: is gone, and was not sent to MLflow")

    def _log_object(self, run: str, path: ObjectPath, folder: str | None) -> None:
        """MLflow takes files alone."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            self.problems.append(f"{path}: is gone, and was not sent to MLflow")
            return
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch, path.name)
            copy.write_bytes(data)
            self._mlflow.log_artifact(run, str(copy), folder)

    def send_start_sweep(
        self,
        name: str,
        parameters: dict[str, Any],
        files: list[str],
        searched: Sequence[str] = (),
    ) -> None:
        """Show the sweep as running, with its view, parameters and files."""
        self._mlflow.update_run(self.sweep_run, status="RUNNING")
        self._prepare_view(searched)
        self._log(self.sweep_run, parameters=parameters)
        self._log_files(self.sweep_run, files)

    def send_start_trial(self, row: dict[str, Any]) -> None:
        """Find or make a trial's run."""
        asked = _row(row)
        self._log(self._run_of(asked), parameters=trial_parameters(asked))

    def send_log_epoch(self, fingerprint: str, epoch: int, curves: dict[str, float]) -> None:
        """A point of the curves of a trial that was started."""
        run = self._known_run(fingerprint)
        if run:
            self._log(run, metrics=curves, step=epoch)
        else:
            self.problems.append(f"epoch {epoch} of {fingerprint}: its run is gone")

    def send_log_data(self, fingerprint: str, used: list[dict[str, Any]]) -> None:
        """Inputs of a trial's run, or of the sweep's."""
        run = self._known_run(fingerprint) if fingerprint else self.sweep_run
        if run:
            self._mlflow.log_inputs(run, [dataset_input(UsedData(**split)) for split in used])
        else:
            self.problems.append(f"data of {fingerprint}: its run is gone")

    def send_finish_trial(
        self,
        row: dict[str, Any],
        metrics: dict[str, float],
        artifacts: list[str],
        tags: dict[str, str],
        network: Sequence[str] = (),
    ) -> None:
        """What became of a trial."""
        ended = _row(row)
        run = self._run_of(ended)
        labels = {"outcome": str(ended.outcome or ""), "feasible": str(ended.feasible).lower()}
        if ended.reason:
            labels["reason"] = ended.reason[-4000:]
        self._log(run, metrics=metrics, tags=labels | tags)
        self._log_files(run, artifacts)
        self._log_files(run, list(network), NETWORK)
        status = {Outcome.COMPLETE: "FINISHED", Outcome.PRUNED: "KILLED"}.get(
            ended.outcome or Outcome.FAILED, "FAILED"
        )
        # Judged on the test split and audited, it did not end again.
        if self._mlflow.get_run(run).info.status != status:
            self._mlflow.set_terminated(run, status)

    def send_show(
        self, note: str, front: list[str], models_note: str, networks: list[dict[str, Any]]
    ) -> None:
        """The sweep's note, the tags of the front, and the registered networks."""
        self._tag_front(front)
        self._describe(self._linked(note))
        versions = [NetworkVersion(**network) for network in networks]
        name, text = model_name(self._sweep), self._linked(models_note)
        try:
            if versions:
                register(self._mlflow, name, text, versions, self._known_run)
        except MlflowException as error:
            # The runs were taken: it is the registry that is closed to this user, and stays so.
            if error.error_code != "PERMISSION_DENIED":
                raise
            self.problems.append(f"networks to register: this user may not change model {name}")

    def _describe(self, note: str) -> None:
        """The sweep's note, unless a person has written over the last one."""
        tags = self._mlflow.get_run(self.sweep_run).data.tags
        there = tags.get(NOTE, "")
        if not there or _digest(there) == tags.get(NOTE_DIGEST):
            self._log(self.sweep_run, tags={NOTE: note, NOTE_DIGEST: _digest(note)})

    def _linked(self, text: str) -> str:
        where = self.experiment_id, self._sweep, self.sweep_run
        return linked(text, *where, self._known_run)

    def _tag_front(self, front: list[str]) -> None:
        """`front` on the runs of the front, and on no other."""
        text = f"tags.`{SWEEP}` = '{self._sweep}' and tags.front = 'true'"
        left = {run.info.run_id for run in self._mlflow.search_runs([self.experiment_id], text)}
        wanted = {self._known_run(fingerprint) for fingerprint in front} - {""}
        for run in left - wanted:
            self._mlflow.delete_tag(run, "front")
        for run in wanted - left:
            self._mlflow.set_tag(run, "front", "true")

    def send_finish_sweep(
        self, metrics: dict[str, float], artifacts: list[str], complete: bool
    ) -> None:
        """The report, and how the sweep ended."""
        self._log(self.sweep_run, metrics=metrics, tags={"complete": str(complete).lower()})
        self._log_files(self.sweep_run, artifacts, folder="report")
        self._mlflow.set_terminated(self.sweep_run, "FINISHED" if complete else "KILLED")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _row(values: dict[str, Any]) -> TrialRow:
    outcome = values["outcome"]
    return TrialRow(
        **values
        | {
            "phase": Phase(values["phase"]),
            "outcome": None if outcome is None else Outcome(outcome),
        }
    )
