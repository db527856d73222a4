"""What of a planned sweep lies in the store already: networks, blocks, and what they measured."""

from collections.abc import Sequence

from pipeline.adapters.parquet_store import ParquetStore
from pipeline.checkpoints import FILE_NAME, stored_epoch
from pipeline.costs import Case
from pipeline.errors import ConfigError
from pipeline.evaluator import EvaluationJob
from pipeline.experiment import trial_folder
from pipeline.files import StorePath
from pipeline.records import BlockKey, Outcome, TrialRow
from pipeline.suite_costs import Fate
from reports.store import read_trials

ENOUGH = 3
"""Judged networks from which on they say how samples fare."""


class PlanStore:
    """A store, and the trials of the sweep of one name; files are looked for, not read."""

    def __init__(self, store: StorePath, name: str) -> None:
        """Read what the sweep wrote of itself.

        Raises:
            ConfigError: It is damaged, or the store is out of reach.
        """
        self.store = store
        self._blocks = ParquetStore(store)
        self._keys: dict[str, set[BlockKey]] = {}
        self._epochs: dict[str, int] = {}
        try:
            self.trials: list[TrialRow] = read_trials(store, name)
        except OSError as error:
            raise ConfigError(f"--store: {error}; check that it can be read") from error

    def epochs(self, fingerprint: str) -> int:
        """Epochs that the network is trained; 0 where its fingerprint is not known."""
        if fingerprint and fingerprint not in self._epochs:
            path = trial_folder(self.store, fingerprint) / FILE_NAME
            self._epochs[fingerprint] = stored_epoch(path)
        return self._epochs.get(fingerprint, 0)

    def share(self, job: EvaluationJob) -> float:
        """Share of the job's blocks that are there."""
        if job.fingerprint not in self._keys:
            self._keys[job.fingerprint] = set(self._blocks.keys(job.fingerprint))
        there = self._keys[job.fingerprint]
        tasks = job.tasks() if there else []
        return sum(task.key in there for task in tasks) / max(len(tasks), 1)

    def ended(self) -> set[str]:
        """Fingerprints of trials that failed, diverged or were stopped: they are not judged."""
        return {
            row.fingerprint for row in self.trials if row.outcome not in (None, Outcome.COMPLETE)
        }

    def judged(self, rows: Sequence[TrialRow]) -> list[TrialRow] | None:
        """These trials as they were judged; None where one of them was not, or there is none."""
        complete = {r.fingerprint: r for r in self.trials if r.outcome is Outcome.COMPLETE}
        found = [complete[row.fingerprint] for row in rows if row.fingerprint in complete]
        return found if found and len(found) == len(rows) else None

    def fates(self) -> dict[Case, Fate] | None:
        """Of the samples of the worst, the mean and the best judged network; None of too few."""
        names = ("clean_accuracy", "robust_accuracy")
        metrics = [row.metrics for row in self.trials if row.outcome is Outcome.COMPLETE]
        judged = [tuple(m[name] for name in names) for m in metrics if set(names) <= m.keys()]
        if len(judged) < ENOUGH:
            return None
        clean, robust = zip(*judged, strict=True)
        return {case: Fate(clean=case.of(clean), robust=case.of(robust)) for case in Case}
