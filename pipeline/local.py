"""The ports without any engine: this process, its memory."""

import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from pipeline.data import Split
from pipeline.evaluation import EvaluationTask
from pipeline.ports import Finished
from pipeline.records import Block, BlockKey, Showcase, TrialRow, UsedData
from pipeline.worker import run_task


class LocalExecutor:
    """Runs each task in this process, one at a time, when its result is asked for."""

    num_slots = 1

    def __init__(
        self,
        splits: Mapping[str, Split],
        *,
        device: str = "auto",
        num_threads: int = 1,
        revision: str = "unknown",
        data: str = "",
        networks: Mapping[str, nn.Module] | None = None,
    ) -> None:
        self._splits = splits
        self._settings: dict[str, Any] = {
            "device": device,
            "num_threads": num_threads,
            "revision": revision,
            "data": data,
            "networks": networks,
        }
        self._waiting: list[EvaluationTask] = []

    def submit(self, task: EvaluationTask) -> None:
        """Queue a task."""
        self._waiting.append(task)

    def completed(self, timeout_s: float) -> list[Finished]:
        """Run the next task; an empty list if there is none."""
        if not self._waiting:
            return []
        task = self._waiting.pop(0)
        try:
            block = run_task(task, self._splits, **self._settings)
        except Exception:  # a failed task is data: it is stored with its traceback
            return [Finished(task=task, block=None, failure=traceback.format_exc())]
        return [Finished(task=task, block=block)]

    def close(self) -> None:
        """Forget what has not run."""
        self._waiting.clear()


class MemoryStore:
    """Keeps blocks in a dictionary."""

    def __init__(self) -> None:
        self.blocks: dict[BlockKey, Block] = {}

    def has(self, key: BlockKey) -> bool:
        """Whether the block is there."""
        return key in self.blocks

    def put(self, key: BlockKey, block: Block) -> None:
        """Keep a block; the first one stays."""
        self.blocks.setdefault(key, block)

    def get(self, key: BlockKey) -> Block:
        """The block of a key."""
        return self.blocks[key]


class MemoryTracker:
    """Remembers what was tracked, for tests and for runs without MLflow."""

    def __init__(self) -> None:
        self.sweep: dict[str, Any] = {}
        self.trials: dict[str, dict[str, Any]] = {}
        self.data: dict[str, dict[str, UsedData]] = {}
        """By fingerprint, and by context; the sweep's own under an empty fingerprint."""
        self.showcase: Showcase | None = None

    def start_sweep(
        self,
        name: str,
        parameters: dict[str, Any],
        files: Sequence[str],
        searched: Sequence[str] = (),
    ) -> None:
        """Remember the sweep."""
        self.sweep = {"name": name, "parameters": parameters, "artifacts": set(files)}
        self.sweep["searched"] = list(searched)

    def start_trial(self, row: TrialRow) -> None:
        """Remember the trial once."""
        self.trials.setdefault(row.fingerprint, {"row": row, "epochs": {}, "metrics": {}})

    def log_epoch(self, fingerprint: str, epoch: int, metrics: dict[str, float]) -> None:
        """Remember a point of the curves."""
        self.trials[fingerprint]["epochs"][epoch] = dict(metrics)

    def log_data(self, fingerprint: str, used: Sequence[UsedData]) -> None:
        """Remember the data."""
        known = self.data.setdefault(fingerprint, {})
        known.update({split.context: split for split in used})

    def finish_trial(
        self,
        row: TrialRow,
        metrics: dict[str, float],
        artifacts: Iterable[str],
        tags: Mapping[str, str] | None = None,
        network: Iterable[str] = (),
    ) -> None:
        """Remember the outcome."""
        self.start_trial(row)
        self.trials[row.fingerprint] |= {"row": row, "artifacts": {*artifacts, *network}}
        self.trials[row.fingerprint]["metrics"] |= metrics
        self.trials[row.fingerprint].setdefault("tags", {}).update(tags or {})

    def show(self, showcase: Showcase) -> None:
        """Remember what the study adds."""
        self.showcase = showcase

    def finish_sweep(
        self, metrics: dict[str, float], artifacts: Iterable[str], *, complete: bool
    ) -> None:
        """Remember the end."""
        self.sweep |= {"metrics": metrics, "complete": complete}
        self.sweep["artifacts"] |= set(artifacts)

    def close(self) -> list[str]:
        """Nothing is ever waiting."""
        return []
