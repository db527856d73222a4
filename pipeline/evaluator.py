"""Turns trained networks into verdicts: splits jobs into tasks, keeps the store filled."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.evaluation import EvaluationTask, block_ranges
from pipeline.ports import Executor, ResultStore
from pipeline.records import BlockKey
from pipeline.threats import Member

POLL_S = 0.2
AHEAD = 2
"""Tasks handed to the executor per slot: enough to keep it busy, few enough to stop soon."""


@dataclass(frozen=True, kw_only=True)
class EvaluationJob:
    """A network to be judged by all members of a suite on the first samples of a split."""

    label: str
    fingerprint: str
    checkpoint: str
    split: str
    members: tuple[Member, ...]
    num_samples: int
    block_size: int
    seed: int

    def tasks(self) -> list[EvaluationTask]:
        """One task per member and block of samples."""
        return [
            EvaluationTask(
                key=BlockKey(
                    fingerprint=self.fingerprint,
                    split=self.split,
                    member=member.name,
                    member_hash=member.hash,
                    seed=self.seed,
                    start=start,
                    stop=stop,
                ),
                member=member,
                checkpoint=self.checkpoint,
            )
            for member in self.members
            for start, stop in block_ranges(self.num_samples, self.block_size)
        ]


@dataclass
class _Progress:
    """How far a job is."""

    job: EvaluationJob
    done: Callable[[EvaluationJob, float, str], None]
    missing: set[BlockKey] = field(default_factory=set)
    started: float | None = None
    """When its first task was handed out."""
    failure: str = ""


class Evaluator:
    """Runs jobs through an executor in a thread of its own; training goes on meanwhile.

    Blocks already in the store are not computed again. `done` is called in that thread, once a
    job, with the seconds it took and the first failure's text (empty if all blocks are there).
    """

    def __init__(self, executor: Executor, store: ResultStore) -> None:
        self._executor, self._store = executor, store
        self._queue: deque[tuple[_Progress, EvaluationTask]] = deque()
        self._progress: list[_Progress] = []
        self._in_flight: dict[BlockKey, _Progress] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="evaluator", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Jobs that are not finished.

        Raises:
            RuntimeError: The evaluator's thread died of an error.
        """
        if self._error is not None:
            raise RuntimeError("the evaluator stopped") from self._error
        with self._lock:
            return len(self._progress)

    def submit(self, job: EvaluationJob, done: Callable[[EvaluationJob, float, str], None]) -> None:
        """Take a job; `done` is called when every block is in the store, or one failed."""
        progress = _Progress(job=job, done=done)
        tasks = [task for task in job.tasks() if not self._store.has(task.key)]
        progress.missing = {task.key for task in tasks}
        with self._lock:
            self._progress.append(progress)
            self._queue.extend((progress, task) for task in tasks)

    def wait(self, until: Callable[[int], bool] = lambda backlog: backlog == 0) -> None:
        """Return once the backlog is as wanted.

        Raises:
            RuntimeError: The evaluator's thread died of an error.
        """
        while not until(self.backlog):
            time.sleep(POLL_S)

    def close(self) -> None:
        """Stop after what is being stored; unfinished blocks are computed by the next run."""
        self._stop.set()
        self._thread.join()
        self._executor.close()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._hand_out()
                self._collect()
                self._finish_jobs()
        except BaseException as error:  # handed to whoever waits
            self._error = error

    def _hand_out(self) -> None:
        with self._lock:
            while self._queue and len(self._in_flight) < AHEAD * self._executor.num_slots:
                progress, task = self._queue.popleft()
                if progress.failure:
                    progress.missing.discard(task.key)
                    continue
                if progress.started is None:
                    progress.started = time.perf_counter()
                self._in_flight[task.key] = progress
                self._executor.submit(task)

    def _collect(self) -> None:
        if not self._in_flight:
            self._stop.wait(POLL_S)
            return
        for finished in self._executor.completed(POLL_S):
            progress = self._in_flight.pop(finished.task.key)
            if finished.block is not None:
                self._store.put(finished.task.key, finished.block)
            else:
                progress.failure = progress.failure or finished.failure
            progress.missing.discard(finished.task.key)

    def _finish_jobs(self) -> None:
        with self._lock:
            finished = [progress for progress in self._progress if not progress.missing]
        for progress in finished:
            seconds = time.perf_counter() - (progress.started or time.perf_counter())
            progress.done(progress.job, seconds, progress.failure)
            # Only now is the job off the backlog: whoever waits for 0 finds it told.
            with self._lock:
                self._progress.remove(progress)
