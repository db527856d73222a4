"""The connection to Ray that trials and evaluation tasks share."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

import ray
from ray._private import services

from pipeline.errors import ConfigError

CONNECT_S = 10
"""How long the head of a cluster may take to answer."""
KEEPALIVE_MS = 20_000
"""How long a connection to a worker may be silent before it is asked for a sign of life, and how
long that may take. Ray's own 5 and 2 minutes are how long a block that ran on a node behind a dead
link could go unmissed, although the node was long given up."""

_session: list[str] = []
"""Folder of the session that this process began or joined, the last one at the end."""


def worker_logs() -> str:
    """Where what workers print is kept on this machine; empty if this process does not know."""
    return f"{_session[-1]}/logs" if _session else ""


def is_connected() -> bool:
    """Whether this process is connected to a cluster already."""
    return bool(ray.is_initialized())


def share_data(value: Any) -> Any:
    """A reference to a value in the object store: once per node, mapped by all its workers."""
    return ray.put(value)


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[dict[str, float]]:
    """A connection to Ray and what the cluster has; an existing one is used and left alone."""
    started = not ray.is_initialized()
    if started:
        # Ray reads this from the environment alone: without it a task without a GPU share
        # would hide the GPUs from torch, and a future Ray version warns about it at each start.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        for name in ("time", "timeout"):
            os.environ.setdefault(f"RAY_grpc_client_keepalive_{name}_ms", str(KEEPALIVE_MS))
        where: dict[str, Any] = {"address": address}
        if address is None:
            # Not whatever cluster a variable or a leftover file of this machine may name.
            where = {"address": "local", "include_dashboard": False}
        else:
            _refuse_silence(address)
        try:
            context = ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
            _session.append(str(context.address_info["session_dir"]))
        except (ConnectionError, ValueError, RuntimeError) as error:
            if address is None:
                raise
            raise _no_cluster(address) from error
    try:
        yield ray.cluster_resources()
    finally:
        if started:
            ray.shutdown()


def head_address(address: str) -> str:
    """`host:port` of a cluster's head; `auto` is the one this machine knows of.

    Raises:
        ConnectionError: `auto`, and the machine knows of none.
    """
    if address != "auto":
        return address
    if ray.is_initialized():
        return str(ray.get_runtime_context().gcs_address)
    return str(services.canonicalize_bootstrap_address("auto"))


def _refuse_silence(address: str) -> None:
    """Raise a ConfigError where nothing listens; Ray itself would try for minutes."""
    try:
        host, _, port = head_address(address).removeprefix("ray://").rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _no_cluster(address) from error


def _no_cluster(address: str) -> ConfigError:
    return ConfigError(
        f"--address: no Ray cluster that takes this token answers at '{address}'; start one with "
        "`ray start --head`, set RAY_AUTH_TOKEN, or leave --address out"
    )


def largest_node() -> dict[str, float]:
    """CPUs and GPUs of the nodes with the most of each: a trial must fit on one."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return {kind: max(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU")}


def slots(num_cpus: int, num_gpus: float) -> int:
    """How many times so many CPUs and GPUs are in the cluster, as of now; at least once."""
    has = ray.cluster_resources()
    fits = [has.get("CPU", 0.0) / num_cpus]
    if num_gpus:
        fits.append(has.get("GPU", 0.0) / num_gpus)
    return max(1, int(min(fits) + 1e-6))


def gpu_kinds() -> list[str]:
    """The cluster's GPUs by kind, such as `8 x H100`; what Ray cannot name is `GPU`."""
    counts: dict[str, float] = {}
    for node in ray.nodes():
        resources = node["Resources"] if node["Alive"] else {}
        if resources.get("GPU"):
            kinds = [k.partition(":")[2] for k in resources if k.startswith("accelerator_type:")]
            kind = kinds[0] if kinds else "GPU"
            counts[kind] = counts.get(kind, 0.0) + resources["GPU"]
    return [f"{count:g} x {kind}" for kind, count in sorted(counts.items())]
