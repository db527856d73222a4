"""What the doctor asks of a Ray cluster: who may use it, and what its nodes are."""

import contextlib
import os
import stat
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import grpc
import ray
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.adapters.ray_session import connected
from pipeline.health.finding import Finding, one_line
from pipeline.health.machine import Machine, examine_machine
from pipeline.health.store import answer

TOKEN, TOKEN_PATH, MODE = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"
PROBE_S, NODE_S = 5.0, 90.0
"""Seconds for one answer of the head, and for those of all nodes: a worker first loads torch."""
NUM_CLOCK_READINGS = 5
CLUSTER = "the cluster"


def token_file() -> Path:
    """Where Ray reads its token from, if no variable holds it."""
    named = os.environ.get(TOKEN_PATH)
    return Path(named) if named else Path.home() / ".ray" / "auth_token"


def _token() -> str:
    """The token that Ray would send; empty if there is none."""
    if os.environ.get(TOKEN):
        return os.environ[TOKEN].strip()
    path = token_file()
    return path.read_text().strip() if path.is_file() else ""


def check_token_file() -> Iterator[Finding]:
    """Whether others on this machine can read the token."""
    if os.environ.get(TOKEN):
        yield Finding.ok("token file", f"The token comes from {TOKEN}; no file is read.")
        return
    path = token_file()
    if not path.is_file():
        if os.environ.get(TOKEN_PATH):
            yield Finding.fail(
                "token file",
                f"{TOKEN_PATH} names {path}, which is no file.",
                f"Correct {TOKEN_PATH}; `ray get-auth-token --generate` makes a token.",
            )
        else:
            yield Finding.ok("token file", f"None at {path}; a local Ray makes one when it starts.")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    folders = [folder.stat().st_mode for folder in path.absolute().parents]
    reachable = all(folder & stat.S_IXOTH for folder in folders)
    if mode & stat.S_IRGRP or (mode & stat.S_IROTH and reachable):
        yield Finding.warn(
            "token file",
            f"{path} has mode {mode:03o}: other users of this machine may read it, and whoever "
            "has it runs code on the cluster.",
            f"chmod 600 {path}",
        )
    else:
        yield Finding.ok("token file", f"Only its owner can read {path}.")


class Access(StrEnum):
    """How a cluster's head meets us."""

    OPEN = "open"
    """It lets anybody in."""
    TAKEN = "taken"
    """It asks for a token, and takes ours."""
    REFUSED = "refused"
    MISSING = "missing"
    """It asks for a token, and there is none here."""
    UNREACHABLE = "unreachable"


def access(address: str) -> Access:
    """Whether a stranger is let in, and whether we are.

    Args:
        address: `host:port` of the head.
    """
    stranger = _asks(address, "")
    if stranger is grpc.StatusCode.OK:
        return Access.OPEN
    if stranger is not grpc.StatusCode.UNAUTHENTICATED:
        return Access.UNREACHABLE
    ours = _token()
    if not ours:
        return Access.MISSING
    return Access.TAKEN if _asks(address, ours) is grpc.StatusCode.OK else Access.REFUSED


def _asks(address: str, token: str) -> grpc.StatusCode:
    """What the head says to a harmless question that comes with this token."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        head = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        try:
            head.GetAllNodeInfo(
                gcs_service_pb2.GetAllNodeInfoRequest(), timeout=PROBE_S, metadata=metadata
            )
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def check_access(address: str, met: Access) -> Iterator[Finding]:
    """Whether the cluster turns strangers away, and lets us in."""
    if met is Access.TAKEN:
        yield Finding.ok("Ray token", "The cluster asks for a token, and takes ours.", CLUSTER)
        return
    source = TOKEN if os.environ.get(TOKEN) else str(token_file())
    found, remedy = {
        Access.OPEN: (
            f"{address} asks for no token: whoever reaches this port runs code there.",
            f"Stop the cluster and start every node with {MODE}=token and one token, whose file "
            f"{TOKEN_PATH} names; `ray get-auth-token --generate` makes one.",
        ),
        Access.UNREACHABLE: (
            f"No Ray head answers at {address} within {PROBE_S:g} s.",
            "Start one with `ray start --head`, correct --address, or open the way to its port.",
        ),
        Access.MISSING: (
            "The cluster asks for a token, and there is none here.",
            f"Set {MODE}=token and {TOKEN_PATH} to a file with the cluster's token.",
        ),
        Access.REFUSED: (
            f"The cluster asks for a token, and refuses the one of {source}.",
            f"Put the cluster's own token there, or name its file in {TOKEN_PATH}.",
        ),
    }[met]
    yield Finding.fail("Ray token", found, remedy, CLUSTER)


class _Probe:
    """Lives on one node, so that its second answer comes without a start."""

    def machine(self) -> Machine:
        return examine_machine()

    def clock(self) -> float:
        return time.time()

    def answer(self, folder: str, node: str) -> str:
        answer(folder, node)
        return ""


class Cluster:
    """The nodes that are alive, each with a probe pinned to it."""

    def __init__(self) -> None:
        """Start the probes; they take no CPU of anybody's."""
        alive = [node for node in ray.nodes() if node["Alive"]]
        self.dead = [node["NodeName"] for node in ray.nodes() if not node["Alive"]]
        addresses = [node["NodeManagerAddress"] for node in alive]
        # Ray would hide the GPUs from a probe that takes none.
        seeing = {"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}}
        remote = ray.remote(num_cpus=0, max_restarts=0, runtime_env=seeing)(_Probe)
        self._probes: dict[str, Any] = {}
        self.declared_gpus: dict[str, float] = {}
        for node in alive:
            name = node["NodeManagerAddress"]
            if addresses.count(name) > 1:
                name = f"{name}-{node['NodeID'][:6]}"
            pinned = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
            self._probes[name] = remote.options(scheduling_strategy=pinned).remote()
            self.declared_gpus[name] = float(node["Resources"].get("GPU", 0.0))

    @property
    def names(self) -> list[str]:
        """Of the nodes that are alive: their addresses."""
        return list(self._probes)

    def machines(self) -> dict[str, Machine | Exception]:
        """Facts of each node, or why there are none."""
        calls = {name: probe.machine.remote() for name, probe in self._probes.items()}
        return _answers(calls)

    def ask(self, folder: str) -> Mapping[str, str | Exception]:
        """Let each node answer in a folder of the store."""
        calls = {name: probe.answer.remote(folder, name) for name, probe in self._probes.items()}
        return _answers(calls)

    def skew(self, name: str) -> tuple[float, float]:
        """A node's clock minus ours, and how far that may be off, in seconds.

        The quickest of a few readings is taken; half of its round trip bounds the error.
        """
        readings = []
        for _ in range(NUM_CLOCK_READINGS):
            before = time.time()
            there = ray.get(self._probes[name].clock.remote(), timeout=NODE_S)
            after = time.time()
            readings.append(((after - before) / 2, there - (before + after) / 2))
        error, skew = min(readings)
        return skew, error

    def close(self) -> None:
        """End the probes."""
        for probe in self._probes.values():
            with contextlib.suppress(RayError, ValueError):
                ray.kill(probe)


def _answers(calls: dict[str, Any]) -> dict[str, Any]:
    """Each call's result, or its error; all calls share one time limit."""
    ray.wait(list(calls.values()), num_returns=len(calls), timeout=NODE_S)
    result: dict[str, Any] = {}
    for name, call in calls.items():
        try:
            result[name] = ray.get(call, timeout=0.1)
        except ray.exceptions.GetTimeoutError:
            result[name] = TimeoutError(f"no answer within {NODE_S:g} s")
        except ray.exceptions.RayTaskError as error:
            result[name] = error.cause if isinstance(error.cause, Exception) else error
        except Exception as error:  # a lost node, or one that cannot import the project
            result[name] = error
    return result


@contextlib.contextmanager
def join(address: str) -> Iterator[Cluster]:
    """A connection to a running cluster.

    Raises:
        ConfigError: It does not let us in; the cause says why.
    """
    with connected(address):
        cluster = Cluster()
        try:
            yield cluster
        finally:
            cluster.close()


def why_not_joined(error: Exception) -> str:
    """What Ray itself said, where `connected` wraps it."""
    return one_line(error.__cause__ or error)
