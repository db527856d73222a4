"""What a sweep asks of a machine or cluster, checked before anything starts."""

import os
from dataclasses import dataclass

import torch

from pipeline.config import ComputeConfig
from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Shares:
    """CPUs and GPUs of a training trial and of an evaluation task."""

    trial_cpus: int
    trial_gpus: float
    evaluation_cpus: int
    evaluation_gpus: float


def local_resources() -> dict[str, float]:
    """CPUs that this process may use, and CUDA devices that torch sees."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"CPU": float(cpus or 1), "GPU": float(torch.cuda.device_count())}


def shares(compute: ComputeConfig, available: dict[str, float], where: str) -> Shares:
    """The shares with defaults filled in.

    Raises:
        ConfigError: A trial or a task asks for more than there is.
    """
    gpus, cpus = available.get("GPU", 0.0), available.get("CPU", 0.0)
    if compute.device == "cuda" and not gpus:
        raise ConfigError(
            f"compute.device: cuda, but {where} has no GPU that torch can use; write auto or cpu"
        )
    has_gpu = gpus > 0 and compute.device != "cpu"

    def gpu_share(value: float | None, default: float) -> float:
        return (default if has_gpu else 0.0) if value is None else value

    result = Shares(
        trial_cpus=compute.cpus_per_trial,
        trial_gpus=gpu_share(compute.gpus_per_trial, 1.0),
        evaluation_cpus=compute.cpus_per_evaluation,
        evaluation_gpus=gpu_share(compute.gpus_per_evaluation, 0.25),
    )
    wanted = (
        ("cpus_per_trial", result.trial_cpus, cpus, "CPUs"),
        ("gpus_per_trial", result.trial_gpus, gpus, "GPUs"),
        ("cpus_per_evaluation", result.evaluation_cpus, cpus, "CPUs"),
        ("gpus_per_evaluation", result.evaluation_gpus, gpus, "GPUs"),
    )
    for name in ("gpus_per_trial", "gpus_per_evaluation"):
        value = getattr(compute, name)
        if value is not None and value > 1 and value % 1:
            raise ConfigError(
                f"compute.{name}: expected a fraction below 1 or a whole number, got {value:g}"
            )
    problems = [
        f"compute.{name}: asks for {share:g}, but {where} has {there:g} {kind}; "
        f"write at most {there:g}"
        for name, share, there, kind in wanted
        if share > there
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    return result
