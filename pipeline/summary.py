"""From stored blocks to the numbers a trial is told and shown by."""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluator import EvaluationJob
from pipeline.ports import ResultStore
from pipeline.threats import CLEAN, GRADIENTS, MEASURED


def survivors(job: EvaluationJob, store: ResultStore) -> NDArray[np.bool_]:
    """What of a finished job's samples withstands every member that counts.

    Raises:
        KeyError: A block is not in the store.
    """
    robust = np.ones(job.num_samples, dtype=np.bool_)
    for task in job.tasks():
        if task.member.counted:
            robust[task.key.start : task.key.stop] &= store.get(task.key).columns["robust"]
    return robust


def union(job: EvaluationJob, store: ResultStore) -> dict[str, float]:
    """Accuracies of a finished job, as fractions of all its samples.

    `robust_accuracy` counts a sample only if it is classified correctly clean and after every
    member that counts. Gradient metrics are means over the samples, NaN (no gradient) left out.

    Raises:
        KeyError: A block is not in the store.
    """
    robust = survivors(job, store)
    clean = np.zeros(job.num_samples, dtype=bool)
    measured: dict[str, list[float]] = {}
    for task in job.tasks():
        if task.member.attack_name == GRADIENTS:
            continue
        block, chosen = store.get(task.key), slice(task.key.start, task.key.stop)
        if task.member.attack_name in MEASURED:
            for name, values in block.columns.items():
                if name != "sample":
                    measured.setdefault(name, []).extend(float(v) for v in values)
            continue
        if task.member.attack_name == CLEAN:
            clean[chosen] = block.columns["robust"]
    metrics = {"clean_accuracy": float(clean.mean()), "robust_accuracy": float(robust.mean())}
    return metrics | {name: _mean(values) for name, values in measured.items()}


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else 0.0
