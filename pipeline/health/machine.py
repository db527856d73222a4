"""Facts of the machine that this runs on, as plain data; Ray sends the function to every node."""

import hashlib
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.environment import ENGINES, revision, version
from pipeline.health.software import ROOT
from pipeline.resources import local_resources

_NUM_ONES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What decides whether a machine can work, and whether it works as the others do."""

    host: str
    python: str
    versions: dict[str, str]
    """Of the engines, of torch and of this project, by package."""
    revision: str
    """Commit of the code, `unknown` outside git."""
    code: str
    """Hash of the code itself, 12 hexadecimal digits."""
    num_cpus: float
    """CPUs that a process may use."""
    cpu_quota: float | None
    """CPUs' worth of time that a container gets; None without a limit."""
    memory_bytes: int
    """All of the machine's, or what the container may take; 0 where unknown."""
    available_bytes: int
    shm_bytes: int | None
    """Size of /dev/shm; None where there is none."""
    cuda: str | None
    """CUDA version that torch was built for; None without CUDA."""
    driver: str | None
    """Version of NVIDIA's driver; None where no GPU of theirs shows."""
    hidden: bool
    """Whether CUDA_VISIBLE_DEVICES hides every GPU."""
    gpus: tuple[str, ...]
    """Name and memory of each GPU that torch sees."""
    gpu_problem: str
    """Why a small computation on a GPU went wrong; empty where none did."""


def examine_machine() -> Machine:
    """The facts, gathered in this process."""
    gpus, problem = _gpus()
    memory, available = _memory()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return Machine(
        host=platform.node(),
        python=platform.python_version(),
        versions={name: version(name) for name in ENGINES},
        revision=revision(),
        code=code_hash(ROOT),
        num_cpus=local_resources()["CPU"],
        cpu_quota=_cpu_quota(),
        memory_bytes=memory,
        available_bytes=available,
        shm_bytes=_size(Path("/dev/shm")),
        cuda=torch.version.cuda,
        driver=_driver(),
        hidden=visible is not None and visible.strip() in ("", "-1", "NoDevFiles"),
        gpus=gpus,
        gpu_problem=problem,
    )


def code_hash(root: Path) -> str:
    """Hash over the code and the suites: two nodes with equal hashes compute the same."""
    digest = hashlib.sha256()
    for folder in ("models", "pipeline", "reports"):
        files = [*(root / folder).rglob("*.py"), *(root / folder).rglob("*.yaml")]
        for path in sorted(files):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _gpus() -> tuple[tuple[str, ...], str]:
    """Every GPU torch sees, and the first trouble in computing with one."""
    names: list[str] = []
    try:
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            names.append(f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
            total = float(torch.ones(_NUM_ONES, device=f"cuda:{index}").sum())
            if total != _NUM_ONES:
                return tuple(names), f"GPU {index} adds {_NUM_ONES} ones up to {total:g}"
    except Exception as error:  # CUDA raises many kinds
        return tuple(names), " ".join(str(error).split())[:300]
    return tuple(names), ""


def _driver() -> str | None:
    """From the kernel module, or from nvidia-smi where a container hides /proc's file."""
    path = Path("/proc/driver/nvidia/version")
    try:
        if path.is_file():
            words = path.read_text().splitlines()[0].split()
            return next((word for word in words if word[:1].isdigit()), "unknown version")
        if shutil.which("nvidia-smi") is None:
            return "unknown version" if Path("/dev/nvidia0").exists() else None
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
        return answer.stdout.split()[0]
    except (OSError, IndexError, subprocess.SubprocessError):
        return None


def _memory() -> tuple[int, int]:
    """All and available bytes, the container's limit counted."""
    path = Path("/proc/meminfo")
    if not path.is_file():
        return 0, 0
    fields = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    total, available = (
        int(fields.get(name, "0").split()[0]) * 1024 for name in ("MemTotal", "MemAvailable")
    )
    limit = _number("memory.max")
    if limit is not None and limit < total:
        used = _number("memory.current") or 0.0
        total, available = int(limit), min(available, max(0, int(limit - used)))
    return total, available


def _cpu_quota() -> float | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return float(quota) / float(period)
    except (OSError, ValueError):
        return None


def _number(name: str) -> float | None:
    """A number of the control group; None where it sets no limit."""
    try:
        return float(Path("/sys/fs/cgroup", name).read_text())
    except (OSError, ValueError):
        return None


def _size(path: Path) -> int | None:
    return shutil.disk_usage(path).total if path.is_dir() else None
