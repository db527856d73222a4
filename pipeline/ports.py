"""The three protocols through which the pipeline meets an engine, and what each guarantees."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.evaluation import EvaluationTask
from pipeline.records import Block, BlockKey, Showcase, TrialRow, UsedData


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A task that will not run again: with its block, or with why there is none."""

    task: EvaluationTask
    block: Block | None
    seconds: float = 0.0
    """Which the worker took for the block."""
    failure: str = ""
    """Traceback of the last try; empty where there is a block."""


class Executor(Protocol):
    """Runs evaluation tasks somewhere.

    Each submitted task is returned by `completed` exactly once, finished or failed; a failure is
    returned, not raised. The block depends on the task alone, not on the executor.
    """

    @property
    def num_slots(self) -> int:
        """Tasks that can run at the same time; at least 1."""
        ...

    def submit(self, task: EvaluationTask) -> None:
        """Take a task; returns at once or after running it."""
        ...

    def completed(self, timeout_s: float) -> list[Finished]:
        """Tasks finished since the last call; waits up to `timeout_s` for the first."""
        ...

    def close(self) -> None:
        """Drop what has not run and release what is held."""
        ...


class ResultStore(Protocol):
    """Keeps blocks under their keys.

    A block is either whole or absent; what was put is returned unchanged, by any process that
    opens the same store. Putting a key again leaves the first block in place. Evidence is kept
    beside the blocks, one image a sample, threat model and radius; what is got has none.
    """

    def has(self, key: BlockKey) -> bool:
        """Whether the block is there."""
        ...

    def put(self, key: BlockKey, block: Block) -> None:
        """Keep a block."""
        ...

    def get(self, key: BlockKey) -> Block:
        """The block of a key; KeyError if it is not there."""
        ...


class Tracker(Protocol):
    """Shows a study where people browse it.

    No method waits for a server or raises because of one; each may be called again with the same
    arguments and changes nothing the second time. `close` delivers what is still to be sent.
    """

    def start_sweep(
        self,
        name: str,
        parameters: dict[str, Any],
        files: Sequence[str],
        searched: Sequence[str] = (),
    ) -> None:
        """Open or find the sweep's run; files are logged with it.

        Args:
            name: Of the sweep.
            parameters: What is shown of it.
            files: That describe it.
            searched: Dotted paths of the searched parameters.
        """
        ...

    def start_trial(self, row: TrialRow) -> None:
        """Open or find the trial's run below the sweep's."""
        ...

    def log_epoch(self, fingerprint: str, epoch: int, metrics: dict[str, float]) -> None:
        """A point of the trial's training curves."""
        ...

    def log_data(self, fingerprint: str, used: Sequence[UsedData]) -> None:
        """Data that a trial's network has met, or, without a fingerprint, that the sweep uses."""
        ...

    def finish_trial(
        self,
        row: TrialRow,
        metrics: dict[str, float],
        artifacts: Iterable[str],
        tags: Mapping[str, str] | None = None,
        network: Iterable[str] = (),
    ) -> None:
        """Final metrics, outcome, files and further tags of a trial.

        Args:
            row: As it was told.
            metrics: By name.
            artifacts: Files.
            tags: Besides those that follow from the row.
            network: Files that are the network itself, kept together.
        """
        ...

    def show(self, showcase: Showcase) -> None:
        """What the finished study adds: its note, its front, and the networks to register."""
        ...

    def finish_sweep(
        self, metrics: dict[str, float], artifacts: Iterable[str], *, complete: bool
    ) -> None:
        """Final numbers and the report of the sweep."""
        ...

    def close(self) -> list[str]:
        """Deliver what is waiting; returns what could not be delivered, a line each."""
        ...
