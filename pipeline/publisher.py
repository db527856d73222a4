"""What of a sweep is shown in the tracker, and from which files."""

import logging
from collections.abc import Sequence
from typing import Any

from pipeline.adapters.parquet_store import ParquetStore
from pipeline.audit import Audit
from pipeline.checkpoints import FILE_NAME
from pipeline.errors import DamagedError
from pipeline.evaluator import EvaluationJob
from pipeline.experiment import EPOCHS_FILE, read_history, trial_folder
from pipeline.files import StorePath, set_aside
from pipeline.ports import Tracker
from pipeline.records import Outcome, TrialRow
from pipeline.threats import MEASURED

CURVES = (
    "train_loss",
    "train_penalty",
    "train_accuracy",
    "validation_accuracy",
    "quick_robust_accuracy",
    "learning_rate",
    "epoch_s",
)


class Publisher:
    """Feeds a tracker; a resumed sweep sends again what the tracker may have missed."""

    def __init__(self, tracker: Tracker, store: ParquetStore) -> None:
        self._tracker, self._store = tracker, store
        self._sent: dict[str, set[int]] = {}

    def started(self, row: TrialRow) -> None:
        """A trial was handed out."""
        self._tracker.start_trial(row)

    def epoch(self, row: TrialRow, metrics: dict[str, Any]) -> None:
        """A trial finished an epoch."""
        epoch = int(metrics["epoch"])
        curves = {name: float(metrics[name]) for name in CURVES if name in metrics}
        self._tracker.log_epoch(row.fingerprint, epoch, curves)
        self._sent.setdefault(row.fingerprint, set()).add(epoch)

    def ended(self, row: TrialRow, job: EvaluationJob) -> None:
        """A trial was told: its curves as far as they were not sent, its numbers, its files."""
        folder = trial_folder(self._store.root, row.fingerprint)
        self._tracker.start_trial(row)
        for metrics in _curves(folder):
            if int(metrics["epoch"]) not in self._sent.get(row.fingerprint, set()):
                self.epoch(row, metrics)
        files = [folder / name for name in (FILE_NAME, "config.json", EPOCHS_FILE)]
        metrics = dict(row.metrics)
        if row.outcome is Outcome.COMPLETE:
            metrics |= {"training_s": row.training_s, "evaluation_s": row.evaluation_s}
            files.append(self._verdicts(job))
        existing = [str(file) for file in files if file.is_file()]
        self._tracker.finish_trial(row, metrics, existing)

    def reported(self, row: TrialRow, job: EvaluationJob, metrics: dict[str, float]) -> None:
        """A trial was judged on the test split."""
        prefixed = {f"test_{name}": value for name, value in metrics.items()}
        self._tracker.finish_trial(row, prefixed, [str(self._verdicts(job))])

    def audited(self, row: TrialRow, result: Audit, path: StorePath) -> None:
        """A trial's result was audited."""
        metrics = {
            "audit_robust_accuracy": result.robust_accuracy,
            "audit_failures": float(len(result.failures)),
        }
        self._tracker.finish_trial(row, metrics, [str(path)], {"audit": str(result.status)})

    def _verdicts(self, job: EvaluationJob) -> StorePath:
        """One file of all the job's verdicts."""
        out = trial_folder(self._store.root, job.fingerprint) / f"verdicts-{job.split}.parquet"
        keys = [task.key for task in job.tasks() if task.member.attack_name not in MEASURED]
        self._store.merge(keys, out)
        return out

    def sweep_ended(
        self, numbers: dict[str, float], artifacts: Sequence[StorePath], *, complete: bool
    ) -> list[str]:
        """The sweep's end; returns what could not be delivered."""
        files = [str(path) for path in artifacts]
        self._tracker.finish_sweep(numbers, files, complete=complete)
        return self._tracker.close()


def _curves(folder: StorePath) -> list[dict[str, Any]]:
    """The metrics of a trial's epochs; a damaged file is set aside, and its curves are lost."""
    try:
        return read_history(folder)
    except DamagedError as error:
        aside = set_aside(folder / EPOCHS_FILE)
        logging.getLogger(__name__).warning("%s; set aside as %s", error, aside.name)
        return []
