"""Times of several things that alternate in one process, and how they compare."""

import time
from collections.abc import Callable, Mapping

import torch

from pipeline.host_memory import keep_freed_memory


def clock(device: torch.device) -> float:
    """Seconds: of the CPU's work on a CPU, where others may compute, too; else of the wall."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def alternating(
    candidates: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, after one that is not counted.

    Candidates take turns, each round another one first: what slows the machine down for a while
    slows all of them down. On a CPU all keep the memory that they have had, as our trainings and
    evaluations do: none pays for pages that another one gave back.

    Args:
        candidates: What is timed, by name.
        rounds: Times that count.
        device: What computes.
    """
    keep_freed_memory()
    names = list(candidates)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started = clock(device)
            candidates[name]()
            passed = clock(device) - started
            if turn:
                seconds[name].append(passed)
    return seconds


def ratio(above: list[float], below: list[float]) -> list[float]:
    """One time over another, in each round."""
    return [a / b for a, b in zip(above, below, strict=True)]
