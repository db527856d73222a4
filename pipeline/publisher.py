"""What of a sweep is shown in the tracker, and from which files."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.adapters.parquet_store import ParquetStore
from pipeline.audit import Audit
from pipeline.checkpoints import FILE_NAME
from pipeline.data import Dataset
from pipeline.errors import DamagedError
from pipeline.evaluator import EvaluationJob
from pipeline.experiment import EPOCHS_FILE, read_history, trial_folder
from pipeline.files import StorePath, set_aside
from pipeline.ports import Tracker
from pipeline.records import Outcome, Showcase, SplitName, TrialRow, UsedData
from pipeline.threats import MEASURED

DIGEST = 12
"""Hex digits of the data's hash that a tracker shows."""
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

    def __init__(
        self, tracker: Tracker, store: ParquetStore, dataset: Dataset, data_hash: str
    ) -> None:
        """Show which data the sweep uses.

        Args:
            tracker: Whose sweep was started.
            store: Of the verdicts.
            dataset: All networks are trained and judged on.
            data_hash: Its content hash.
        """
        self._tracker, self._store = tracker, store
        self._used = used_data(dataset, data_hash)
        self._sent: dict[str, set[int]] = {}
        tracker.log_data("", list(self._used.values()))

    def started(self, row: TrialRow) -> None:
        """A trial was handed out: it will meet all but the test images."""
        self._tracker.start_trial(row)
        met = [self._used[split] for split in (SplitName.TRAIN, SplitName.VALIDATION)]
        self._tracker.log_data(row.fingerprint, met)

    def epoch(self, row: TrialRow, metrics: dict[str, Any]) -> None:
        """A trial finished an epoch."""
        epoch = int(metrics["epoch"])
        curves = {name: float(metrics[name]) for name in CURVES if name in metrics}
        self._tracker.log_epoch(row.fingerprint, epoch, curves)
        self._sent.setdefault(row.fingerprint, set()).add(epoch)

    def ended(self, row: TrialRow, job: EvaluationJob) -> None:
        """A trial was told: its curves as far as they were not sent, its numbers, its files."""
        folder = trial_folder(self._store.root, row.fingerprint)
        self.started(row)
        for metrics in _curves(folder):
            if int(metrics["epoch"]) not in self._sent.get(row.fingerprint, set()):
                self.epoch(row, metrics)
        network = [folder / name for name in (FILE_NAME, "config.json")]
        files = [folder / EPOCHS_FILE]
        metrics = dict(row.metrics)
        if row.outcome is Outcome.COMPLETE:
            metrics |= {"training_s": row.training_s, "evaluation_s": row.evaluation_s}
            files.append(self._verdicts(job))
        self._tracker.finish_trial(row, metrics, _existing(files), network=_existing(network))

    def reported(self, row: TrialRow, job: EvaluationJob, metrics: dict[str, float]) -> None:
        """A trial was judged on the test split."""
        prefixed = {f"test_{name}": value for name, value in metrics.items()}
        self._tracker.log_data(row.fingerprint, [self._used[SplitName.TEST]])
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

    def concluded(self, showcase: Showcase) -> None:
        """All was judged, and the report follows from it."""
        self._tracker.show(showcase)

    def sweep_ended(
        self, numbers: dict[str, float], artifacts: Sequence[StorePath], *, complete: bool
    ) -> list[str]:
        """The sweep's end; returns what could not be delivered."""
        files = [str(path) for path in artifacts]
        self._tracker.finish_sweep(numbers, files, complete=complete)
        return self._tracker.close()


def used_data(dataset: Dataset, data_hash: str) -> dict[str, UsedData]:
    """What each split of a data set is used for, by the split's name."""
    contexts = {
        SplitName.TRAIN: (dataset.train, "training"),
        SplitName.VALIDATION: (dataset.validation, "validation"),
        SplitName.TEST: (dataset.test, "test"),
    }
    return {
        name: UsedData(
            name=f"{dataset.name}-{name}",
            digest=data_hash[:DIGEST],
            context=context,
            note=dataset.note,
            dtype=split.images.dtype.name,
            sample_shape=split.images.shape[1:],
            class_counts=tuple(np.bincount(split.labels, minlength=dataset.num_classes).tolist()),
        )
        for name, (split, context) in contexts.items()
    }


def _existing(files: Sequence[StorePath]) -> list[str]:
    return [str(file) for file in files if file.is_file()]


def _curves(folder: StorePath) -> list[dict[str, Any]]:
    """The metrics of a trial's epochs; a damaged file is set aside, and its curves are lost."""
    try:
        return read_history(folder)
    except DamagedError as error:
        aside = set_aside(folder / EPOCHS_FILE)
        logging.getLogger(__name__).warning("%s; set aside as %s", error, aside.name)
        return []
