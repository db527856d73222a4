"""What a number was computed with: versions, hardware, code revision."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

ENGINES = ("torch", "torchvision", "ray", "optuna", "mlflow", "numpy", "pyarrow", "spikeproof")
REVISION = "SPIKEPROOF_REVISION"
"""Names the commit where there is no git to ask, as in a container image."""


def revision() -> str:
    """Commit of the code, with `+changes` where files differ from it.

    Outside git it is what SPIKEPROOF_REVISION says, or `unknown`.
    """
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if _git(here, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return os.environ.get(REVISION) or "unknown"


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=20
    )
    return result.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def version(package: str) -> str:
    """Version of an installed package, or `not installed`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe(device: torch.device, num_cpus: float, gpus: list[str]) -> dict[str, Any]:
    """The environment as plain data, for reports and MLflow."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ENGINES},
        "platform": platform.platform(),
        "cpu": _processor(),
        "num_cpus": int(num_cpus),
        "gpus": gpus,
        "device": str(device),
        "precision": "fp32",
        "revision": revision(),
    }
