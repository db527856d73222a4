"""Turns trained networks into verdicts: splits jobs into tasks, keeps the store filled."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import EvaluationTask, block_ranges
from pipeline.ports import Executor, Finished, ResultStore
from pipeline.records import Block, BlockKey
from pipeline.threats import CLEAN, Member

POLL_S = 0.2
"""How often a stop is looked for."""
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
        return [task for chain in self.chains() for task in chain]

    def chains(self) -> list[list[EvaluationTask]]:
        """The tasks in groups: within one, each attacks what those before it left standing."""
        ranges = block_ranges(self.num_samples, self.block_size)
        alone = [member for member in self.members if not self._in_chain(member)]
        chained = [member for member in self.members if self._in_chain(member)]
        return [
            *([self._task(member, *place)] for member in alone for place in ranges),
            *([self._task(member, *place) for member in chained] for place in ranges if chained),
        ]

    def _in_chain(self, member: Member) -> bool:
        """Whether the member attacks survivors, or leaves its own to those that do."""
        if member.attack_name == CLEAN:
            return any(other.after for other in self.members)
        return bool(member.after)

    def _task(self, member: Member, start: int, stop: int) -> EvaluationTask:
        return EvaluationTask(
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


@dataclass
class _Progress:
    """How far a job is."""

    job: EvaluationJob
    done: Callable[[EvaluationJob, float, str], None]
    missing: int = 0
    """Chains that are not finished."""
    seconds: float = 0.0
    """Of workers, for the blocks that were not there."""
    failure: str = ""


@dataclass
class _Chain:
    """Tasks that wait for each other; most chains are of one."""

    progress: _Progress
    tasks: deque[EvaluationTask]
    standing: NDArray[np.bool_] | None = None

    def skip_stored(self, store: ResultStore) -> None:
        """Go past the blocks that are there already."""
        while self.tasks and store.has(self.tasks[0].key):
            task = self.tasks.popleft()
            if self.tasks:
                self.note(store.get(task.key))

    def note(self, block: Block) -> None:
        """Take away what a block found broken."""
        robust = block.columns["robust"]
        self.standing = robust if self.standing is None else self.standing & robust

    def task(self) -> EvaluationTask:
        """The next task, told what is left."""
        task = self.tasks[0]
        if self.standing is None or not task.member.after:
            return task
        return replace(task, standing=tuple(bool(standing) for standing in self.standing))


class Evaluator:
    """Runs jobs through an executor in a thread of its own; training goes on meanwhile.

    Blocks already in the store are not computed again. `done` is called in that thread, once a
    job, with the seconds that workers took and the first failure's text (empty if all blocks are
    there).
    """

    def __init__(
        self,
        executor: Executor,
        store: ResultStore,
        computed: Callable[[Finished], None] = lambda _finished: None,
    ) -> None:
        """Start the thread; `computed` is called in it for every block that was not there."""
        self._executor, self._store, self._computed = executor, store, computed
        self._queue: deque[_Chain] = deque()
        self._progress: list[_Progress] = []
        self._in_flight: dict[BlockKey, _Chain] = {}
        self._changed = threading.Condition()
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
        with self._changed:
            return len(self._progress)

    def submit(self, job: EvaluationJob, done: Callable[[EvaluationJob, float, str], None]) -> None:
        """Take a job; `done` is called when every block is in the store, or one failed."""
        progress = _Progress(job=job, done=done)
        chains = [_Chain(progress, deque(tasks)) for tasks in job.chains()]
        for chain in chains:
            chain.skip_stored(self._store)
        open_chains = [chain for chain in chains if chain.tasks]
        progress.missing = len(open_chains)
        with self._changed:
            self._progress.append(progress)
            self._queue.extend(open_chains)
            self._changed.notify_all()

    def wait(self, until: Callable[[int], bool] = lambda backlog: backlog == 0) -> None:
        """Return once the backlog is as wanted.

        Raises:
            RuntimeError: The evaluator's thread died of an error.
        """
        with self._changed:
            while not until(self.backlog):
                self._changed.wait(POLL_S)

    def close(self) -> None:
        """Stop after what is being stored; unfinished blocks are computed by the next run."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
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
            with self._changed:
                self._changed.notify_all()

    def _hand_out(self) -> None:
        with self._changed:
            while self._queue and len(self._in_flight) < AHEAD * self._executor.num_slots:
                chain = self._queue.popleft()
                progress = chain.progress
                if progress.failure:
                    progress.missing -= 1
                    continue
                task = chain.task()
                self._in_flight[task.key] = chain
                self._executor.submit(task)

    def _collect(self) -> None:
        if not self._in_flight:
            with self._changed:
                if not self._progress:
                    self._changed.wait(POLL_S)
            return
        for finished in self._executor.completed(POLL_S):
            chain = self._in_flight.pop(finished.task.key)
            if finished.block is None:
                chain.progress.failure = chain.progress.failure or finished.failure
                chain.progress.missing -= 1
                continue
            chain.progress.seconds += finished.seconds
            self._store.put(finished.task.key, finished.block)
            self._computed(finished)
            chain.skip_stored(self._store)
            if chain.tasks:
                with self._changed:
                    self._queue.appendleft(chain)
            else:
                chain.progress.missing -= 1

    def _finish_jobs(self) -> None:
        with self._changed:
            finished = [progress for progress in self._progress if not progress.missing]
        for progress in finished:
            progress.done(progress.job, progress.seconds, progress.failure)
            # Only now is the job off the backlog: whoever waits for 0 finds it told.
            with self._changed:
                self._progress.remove(progress)
                self._changed.notify_all()
