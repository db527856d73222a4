"""What a sweep asks of a machine or cluster, checked before anything starts."""

import os
from dataclasses import dataclass

import torch

from pipeline.config import ComputeConfig
from pipeline.errors import SettingError


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


def check_device(setting: str, wanted: str, gpus: float, where: str = "this machine") -> None:
    """Refuse a GPU where there is none.

    Raises:
        SettingError: Of the setting or option of this name.
    """
    if wanted == "cuda" and not gpus:
        message = f"cuda, but {where} has no GPU that torch can use; write auto or cpu"
        raise SettingError(setting, message)


def shares(compute: ComputeConfig, available: dict[str, float], where: str) -> Shares:
    """The shares with defaults filled in.

    Raises:
        ConfigError: A trial or a task asks for more than there is.
    """
    gpus, cpus = available.get("GPU", 0.0), available.get("CPU", 0.0)
    check_device("compute.device", compute.device, gpus, where)
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
            raise SettingError(
                f"compute.{name}", f"expected a fraction below 1 or a whole number, got {value:g}"
            )
    problems = [
        (
            f"compute.{name}",
            f"asks for {share:g}, but {where} has {there:g} {kind}; write at most {there:g}",
        )
        for name, share, there, kind in wanted
        if share > there
    ]
    if problems:
        raise SettingError(*problems[0], *problems[1:])
    return result
