"""A sweep on two Ray nodes between which the link goes dead: `partition.py WHEN ARGUMENT...`.

WHEN is `training`, `evaluating` or `never`. Each node is a real Ray node in a network namespace of
its own, joined by a bridge in a third; the driver runs on the head's. The link dies without a
sign: no process ends, no cable is unplugged, packets just no longer arrive. It comes back once Ray
has declared the node dead. Needs root; variables such as RAY_health_check_period_ms change how
soon that is.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

HEAD, OTHER, SWITCH = "head", "other", "switch"
ADDRESSES = {HEAD: "10.213.77.1", OTHER: "10.213.77.2"}
PORT = 6379
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
}
"""Seconds to detection in place of a minute; with less, a busy machine looks like a dead one."""


def say(text: str) -> None:
    """A line, at once: several processes write to one file."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def ip(*arguments: str) -> str:
    """Run iproute2's `ip`."""
    done = subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


@contextlib.contextmanager
def network(tag: str) -> Iterator[dict[str, str]]:
    """Three namespaces, two of them joined by a bridge in the third; gives their full names."""
    names = {role: f"spikeproof-{tag}-{role}" for role in (SWITCH, HEAD, OTHER)}
    try:
        for name in names.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", names[SWITCH], "link", "add", "bridge", "type", "bridge")
        ip("-n", names[SWITCH], "link", "set", "bridge", "up")
        for role, address in ADDRESSES.items():
            ip("-n", names[SWITCH], "link", "add", role, "type", "veth",
               "peer", "name", "eth0", "netns", names[role])  # fmt: skip
            ip("-n", names[SWITCH], "link", "set", role, "master", "bridge", "up")
            ip("-n", names[role], "address", "add", f"{address}/24", "dev", "eth0")
            ip("-n", names[role], "link", "set", "eth0", "up")
            ip("-n", names[role], "route", "add", "default", "via", "10.213.77.254")
        yield names
    finally:
        for name in names.values():
            with contextlib.suppress(subprocess.CalledProcessError):
                for process in ip("netns", "pids", name).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(process), signal.SIGKILL)
                ip("netns", "delete", name)


def possible() -> str:
    """Why namespaces cannot be made here; empty if they can."""
    try:
        with network(f"probe{os.getpid()}"):
            return ""
    except FileNotFoundError:
        return "iproute2 is not installed"
    except subprocess.CalledProcessError as error:
        return f"network namespaces cannot be made: {error.stderr.strip()}"


class Link:
    """The other node's place in the bridge."""

    def __init__(self, switch: str) -> None:
        self._switch = switch

    def cut(self) -> None:
        ip("-n", self._switch, "link", "set", OTHER, "nomaster")

    def mend(self) -> None:
        ip("-n", self._switch, "link", "set", OTHER, "master", "bridge")


def arm(when: str, link: Link) -> threading.Thread:
    """Let the link die beside the chosen call, and come back; returns the thread that does it."""
    from pipeline.adapters.parquet_store import ParquetStore
    from pipeline.sweep_driver import Driver

    owner, name = {"training": (Driver, "_epoch"), "evaluating": (ParquetStore, "put")}[when]
    original, calls = getattr(owner, name), 0
    outage = threading.Thread(target=_outage, args=(when, link))

    def watched(*args, **kwargs):
        nonlocal calls
        if when == "training" and outage.ident is None:
            # Tune starts a worker for the second trial only if the first one is not over before.
            time.sleep(4)
        # The first epoch that comes from the other node; or a block while more are in the making.
        calls += when == "evaluating" or args[2].get("node_ip") == ADDRESSES[OTHER]
        if calls == {"training": 1, "evaluating": 4}[when] and outage.ident is None:
            link.cut()
            outage.start()
        return original(*args, **kwargs)

    setattr(owner, name, watched)
    return outage


def _outage(when: str, link: Link) -> None:
    import ray

    began = time.monotonic()
    places = sorted(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"])
    say(f"nodes: {', '.join(places)}")
    say(f"the link is dead while {when}")
    while len(alive := [node for node in ray.nodes() if node["Alive"]]) > 1:
        time.sleep(0.1)
    seconds = time.monotonic() - began
    say(f"{len(alive)} node is left after {seconds:.1f} s without a link")
    link.mend()
    say("the link is back")


def inside(when: str, switch: str, arguments: list[str]) -> int:
    """The driver, on the head's node."""
    from pipeline.sweep import main

    outage = arm(when, Link(switch)) if when != "never" else None
    code = main([*arguments, "--address", f"{ADDRESSES[HEAD]}:{PORT}"])
    if outage is not None:
        outage.join()
    return code


def outside(when: str, arguments: list[str]) -> int:
    """Make the network, start the nodes, run the driver."""
    tag = str(os.getpid())
    # Whoever ends this process leaves neither namespaces nor nodes behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    # Short: the paths of Ray's sockets must fit 107 characters.
    with network(tag) as names, tempfile.TemporaryDirectory(prefix="sp-", dir="/tmp") as place:
        environment = HEALTH | dict(os.environ) | {"RAY_TMPDIR": place}
        common = ["--num-cpus", "1", "--object-store-memory", "100000000", "--disable-usage-stats"]
        ray_command = [sys.executable, "-m", "ray.scripts.scripts", "start", *common]
        starts = {
            HEAD: ["--head", "--port", str(PORT), "--include-dashboard", "false"],
            OTHER: ["--address", f"{ADDRESSES[HEAD]}:{PORT}"],
        }
        for role, more in starts.items():
            there = ["--node-ip-address", ADDRESSES[role]]
            subprocess.run(
                ["ip", "netns", "exec", names[role], *ray_command, *there, *more],
                check=True, env=environment, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        driver = [sys.executable, "-m", "tests.crash.partition", "inside", when, names[SWITCH]]
        code = subprocess.run(
            ["ip", "netns", "exec", names[HEAD], *driver, *arguments], env=environment
        ).returncode
        deadline = time.monotonic() + 60
        while when != "never" and (left := workers(names[OTHER])) and time.monotonic() < deadline:
            time.sleep(1)
        if when != "never":
            say(f"{left} workers are left on the other node")
    return code


def workers(name: str) -> int:
    """Processes of a node that run or start the sweep's work: its raylet and Ray's workers."""
    count = 0
    for process in ip("netns", "pids", name).split():
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{process}/cmdline").read_bytes()
            count += b"ray::" in command or b"raylet/raylet" in command
    return count


if __name__ == "__main__":
    if sys.argv[1] == "inside":
        sys.exit(inside(sys.argv[2], sys.argv[3], sys.argv[4:]))
    sys.exit(outside(sys.argv[1], sys.argv[2:]))
