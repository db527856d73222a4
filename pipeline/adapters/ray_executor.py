"""Evaluation tasks as Ray tasks, each with its own share of CPUs and GPUs."""

import time
from typing import Any

import ray
from ray.exceptions import RayTaskError

from pipeline.evaluation import EvaluationTask
from pipeline.ports import Finished
from pipeline.records import Block
from pipeline.worker import run_task

MAX_RETRIES = 3
"""After a worker or its node died; an error of the task itself is not tried again."""
MAX_CALLS_ON_GPU = 64
"""Tasks a worker runs before it ends, where it has a share of a GPU, whose memory it gives back
then. Ray's default is 1 there, and each new worker spends seconds importing torch. Without a GPU
a worker goes on: short tasks would take less time than the starts between them."""


def _run(task: EvaluationTask, splits: Any, settings: dict[str, Any]) -> tuple[Block, float]:
    began = time.perf_counter()
    block = run_task(task, splits, **settings)
    return block, time.perf_counter() - began


class RayExecutor:
    """Runs tasks on whatever the connected Ray cluster has free."""

    def __init__(
        self,
        splits: Any,
        *,
        num_cpus: int,
        num_gpus: float,
        device: str,
        revision: str,
        data: str = "",
    ) -> None:
        """Prepare tasks of one shape.

        Args:
            splits: Object reference of the mapping of splits, as `ray.put` returned it.
            num_cpus: Of each task; also its torch threads.
            num_gpus: Of each task; fractions share a GPU.
            device: auto, cpu or cuda.
            revision: Of the code, for the metadata.
            data: Hash of the data set, for the metadata.
        """
        self._splits = splits
        self._settings = {
            "device": device,
            "num_threads": num_cpus,
            "revision": revision,
            "data": data,
        }
        self._remote = ray.remote(
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            max_calls=MAX_CALLS_ON_GPU if num_gpus else 0,
            max_retries=MAX_RETRIES,
            retry_exceptions=False,
        )(_run)
        self._running: dict[Any, EvaluationTask] = {}
        total = ray.cluster_resources()
        slots = [total.get("CPU", 1) / num_cpus]
        if num_gpus:
            slots.append(total.get("GPU", 0) / num_gpus)
        self.num_slots = max(1, int(min(slots)))

    def submit(self, task: EvaluationTask) -> None:
        """Hand the task to Ray."""
        reference = self._remote.remote(task, self._splits, self._settings)
        self._running[reference] = task

    def completed(self, timeout_s: float) -> list[Finished]:
        """Tasks finished since the last call; waits up to `timeout_s` for the first."""
        if not self._running:
            return []
        waiting = list(self._running)
        first, _ = ray.wait(waiting, num_returns=1, timeout=timeout_s, fetch_local=True)
        if not first:
            return []
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0, fetch_local=True)
        return [self._outcome(reference) for reference in {*first, *ready}]

    def _outcome(self, reference: Any) -> Finished:
        task = self._running.pop(reference)
        try:
            block, seconds = ray.get(reference)
            return Finished(task=task, block=block, seconds=seconds)
        except RayTaskError as error:
            return Finished(task=task, block=None, failure=str(error))
        except Exception as error:  # a lost worker after all retries: data, like any failure
            return Finished(task=task, block=None, failure=f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Cancel what has not finished."""
        for reference in self._running:
            ray.cancel(reference, force=False)
        self._running.clear()
