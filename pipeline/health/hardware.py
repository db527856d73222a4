"""GPUs, CPUs, memory and shared memory of one machine, and its clock."""

from collections.abc import Iterator

from pipeline.health.finding import HERE, Finding
from pipeline.health.machine import Machine

GIB = 2**30
SHM_BYTES, SHM_SHARE = 2 * GIB, 0.3
"""Ray takes 30 % of the memory for its object store, in /dev/shm where that is large enough."""
LOW_MEMORY_BYTES = 2 * GIB
SKEW_WARN_S, SKEW_FAIL_S = 1.0, 30.0


def check_gpus(machine: Machine, where: str = HERE, declared: float = 0.0) -> Iterator[Finding]:
    """Whether torch computes on the GPUs that there are.

    Args:
        machine: Its facts.
        where: Its name.
        declared: GPUs that Ray hands out there.
    """
    built = f"driver {machine.driver or 'unknown'}, torch built for CUDA {machine.cuda or 'none'}"
    if machine.gpu_problem:
        yield Finding.fail(
            "GPUs",
            f"Torch cannot compute on {', '.join(machine.gpus) or 'a GPU'}: "
            f"{machine.gpu_problem} ({built}).",
            "Update NVIDIA's driver, or install a torch built for the CUDA version it supports.",
            where,
        )
    elif machine.gpus:
        yield Finding.ok("GPUs", f"Torch computes on {'; '.join(machine.gpus)} ({built}).", where)
    elif machine.hidden and machine.driver:
        yield Finding.skipped(
            "GPUs",
            "CUDA_VISIBLE_DEVICES hides the GPUs of this machine.",
            "Unset CUDA_VISIBLE_DEVICES to use them.",
            where,
        )
    elif machine.driver:
        yield Finding.fail(
            "GPUs",
            f"There is an NVIDIA GPU that torch cannot use ({built}).",
            "Install a torch with CUDA (https://pytorch.org), or hide the GPU with "
            "CUDA_VISIBLE_DEVICES= to compute on the CPU.",
            where,
        )
    elif not declared:
        yield Finding.ok("GPUs", "None; everything is computed on the CPU.", where)
    if declared > len(machine.gpus):
        yield Finding.fail(
            "GPUs",
            f"Ray hands out {declared:g} GPUs here, and torch sees {len(machine.gpus)}.",
            "Start this node with the right --num-gpus, or repair what hides its GPUs.",
            where,
        )


def check_cpus_and_memory(machine: Machine, where: str = HERE) -> Iterator[Finding]:
    """How much there is to compute with."""
    quota = machine.cpu_quota
    if quota is not None and quota < machine.num_cpus:
        yield Finding.warn(
            "CPUs",
            f"{machine.num_cpus:g} CPUs show, but the container gets the time of {quota:g}.",
            f"Start Ray with --num-cpus {max(1, int(quota))}, or raise the container's limit.",
            where,
        )
    else:
        yield Finding.ok("CPUs", f"{machine.num_cpus:g} may be used.", where)
    memory = (
        f"{machine.available_bytes / GIB:.1f} of {machine.memory_bytes / GIB:.1f} GiB are available"
    )
    if not machine.memory_bytes:
        yield Finding.skipped("memory", "It is unknown.", "Look at it by other means.", where)
    elif machine.available_bytes < LOW_MEMORY_BYTES:
        yield Finding.warn(
            "memory",
            f"{memory}.",
            "End other programs, or run fewer trials at once: Ray ends trials when it runs out.",
            where,
        )
    else:
        yield Finding.ok("memory", f"{memory}.", where)


def check_shared_memory(machine: Machine, where: str = HERE) -> Iterator[Finding]:
    """Whether Ray's object store fits into /dev/shm."""
    size = machine.shm_bytes
    if size is None:
        yield Finding.skipped(
            "/dev/shm", "There is none; Ray uses /tmp.", "Nothing, outside Linux.", where
        )
        return
    wanted = min(SHM_BYTES, int(SHM_SHARE * machine.memory_bytes))
    if size < wanted:
        yield Finding.warn(
            "/dev/shm",
            f"It has {size / GIB:.2f} GiB, less than the {wanted / GIB:.1f} that Ray wants; Ray "
            "then keeps its objects in /tmp, on the disk, and is slow.",
            "Give the container more with --shm-size=2g (shm_size in a compose file).",
            where,
        )
    else:
        yield Finding.ok("/dev/shm", f"It has {size / GIB:.1f} GiB.", where)


def check_clock(skew_s: float, error_s: float, where: str) -> Iterator[Finding]:
    """Whether a node's clock agrees with the driver's.

    Args:
        skew_s: Node's time minus the driver's, in seconds.
        error_s: How far the measurement may be off: half of the round trip, in seconds.
        where: Name of the node.
    """
    found = f"It is {skew_s:+.3f} s off the driver's, give or take {error_s:.3f} s."
    certain = max(0.0, abs(skew_s) - error_s)
    remedy = "Start a time service (chrony or systemd-timesyncd) on this node and on the driver."
    if certain > SKEW_FAIL_S:
        yield Finding.fail("clock", found, remedy, where)
    elif certain > SKEW_WARN_S:
        yield Finding.warn("clock", found, remedy, where)
    else:
        yield Finding.ok("clock", found, where)
