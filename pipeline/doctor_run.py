"""The doctor's table of checks, and the order they run in."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from pipeline.adapters.mlflow_health import check_mlflow
from pipeline.adapters.ray_health import (
    CLUSTER,
    Access,
    Cluster,
    access,
    check_access,
    check_token_file,
    join,
    why_not_joined,
)
from pipeline.adapters.ray_session import head_address
from pipeline.adapters.study_health import check_study_database
from pipeline.data import DataConfig
from pipeline.files import StorePath, local_folder
from pipeline.health.data_sets import check_data
from pipeline.health.finding import HERE, Finding, guarded, one_line, within
from pipeline.health.hardware import (
    check_clock,
    check_cpus_and_memory,
    check_gpus,
    check_shared_memory,
)
from pipeline.health.machine import Machine, examine_machine
from pipeline.health.software import check_alike, check_installation
from pipeline.health.store import check_shared, check_store

TIMEOUT_S, DATA_TIMEOUT_S = 120.0, 600.0
"""Of one check: a dead file server would hang for ever; data sets are read as a whole."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the checks look at."""

    store: StorePath
    data: DataConfig | None
    """Of the space, where one was named."""
    here: Machine
    cluster: Cluster | None
    """With --address, once it let us in."""
    nodes: dict[str, Machine]
    """Facts of every node that answered; without a cluster, this machine alone."""


Check = Callable[[Surroundings], Iterable[Finding]]


def _installation(_around: Surroundings) -> Iterator[Finding]:
    yield from check_installation()


def _alike(around: Surroundings) -> Iterator[Finding]:
    if around.cluster is not None:
        for where, node in around.nodes.items():
            yield from check_alike(around.here, node, where)


def _gpus(around: Surroundings) -> Iterator[Finding]:
    declared = {} if around.cluster is None else around.cluster.declared_gpus
    for where, node in around.nodes.items():
        yield from check_gpus(node, where, declared.get(where, 0.0))


def _cpus_and_memory(around: Surroundings) -> Iterator[Finding]:
    for where, node in around.nodes.items():
        yield from check_cpus_and_memory(node, where)


def _shared_memory(around: Surroundings) -> Iterator[Finding]:
    for where, node in around.nodes.items():
        yield from check_shared_memory(node, where)


def _clocks(around: Surroundings) -> Iterator[Finding]:
    if around.cluster is not None:
        for where in around.nodes:
            skew, error = around.cluster.skew(where)
            yield from check_clock(skew, error, where)


def _store(around: Surroundings) -> Iterator[Finding]:
    yield from check_store(around.store)


def _shared_store(around: Surroundings) -> Iterator[Finding]:
    if around.cluster is not None:
        yield from check_shared(around.store, around.cluster.ask)


def _study(around: Surroundings) -> Iterator[Finding]:
    yield from check_study_database(local_folder(around.store))


def _mlflow(around: Surroundings) -> Iterator[Finding]:
    yield from check_mlflow(local_folder(around.store))


def _token_file(_around: Surroundings) -> Iterator[Finding]:
    yield from check_token_file()


def _data(around: Surroundings) -> Iterator[Finding]:
    yield from check_data(around.data)


CHECKS: dict[str, tuple[Check, float]] = {
    "installation": (_installation, TIMEOUT_S),
    "nodes alike": (_alike, TIMEOUT_S),
    "GPUs": (_gpus, TIMEOUT_S),
    "CPUs and memory": (_cpus_and_memory, TIMEOUT_S),
    "/dev/shm": (_shared_memory, TIMEOUT_S),
    "clocks": (_clocks, TIMEOUT_S),
    "store": (_store, TIMEOUT_S),
    "shared store": (_shared_store, TIMEOUT_S),
    "study database": (_study, TIMEOUT_S),
    "MLflow": (_mlflow, TIMEOUT_S),
    "token file": (_token_file, TIMEOUT_S),
    "data sets": (_data, DATA_TIMEOUT_S),
}
"""Every check by its name, with its time limit in seconds; a new one is a function and a line."""


def examine(*, store: StorePath, address: str | None, data: DataConfig | None) -> Iterator[Finding]:
    """All findings, one after the other as they come.

    Args:
        store: Folder of all results; nothing is left in it.
        address: Of a Ray cluster; None looks at this machine alone.
        data: Data set of a space; None looks at the digits and for CIFAR.
    """
    try:
        here = within(TIMEOUT_S, examine_machine)
    except Exception as error:  # torch or a driver, of any kind
        remedy = "Mend what the message names; nothing else was looked at."
        yield Finding.fail("machine", f"Its facts cannot be read: {one_line(error)}.", remedy)
        return
    with contextlib.ExitStack() as stack:
        cluster, nodes = None, {HERE: here}
        if address is not None:
            nodes = {}
            try:
                head = head_address(address)
                met = within(TIMEOUT_S, lambda: access(head))
                yield from check_access(head, met)
                if met in (Access.OPEN, Access.TAKEN):
                    cluster = stack.enter_context(join(address))
                    answers = cluster.machines()
                    yield from _nodes_found(cluster, answers)
                    nodes = {name: m for name, m in answers.items() if isinstance(m, Machine)}
            except Exception as error:  # Ray raises many kinds
                yield Finding.fail("Ray cluster", f"{why_not_joined(error)}.", REMEDY, CLUSTER)
            if cluster is None:
                yield Finding.skipped(
                    "nodes", "They were not looked at.", "Mend the above first.", CLUSTER
                )
        around = Surroundings(store=store, data=data, here=here, cluster=cluster, nodes=nodes)
        for name, (check, timeout_s) in CHECKS.items():
            yield from guarded(name, partial(check, around), timeout_s)


REMEDY = (
    "Give the driver the cluster's versions of Ray and Python, and run it where every node can be "
    "reached."
)


def _nodes_found(cluster: Cluster, answers: dict[str, Machine | Exception]) -> Iterator[Finding]:
    """Which nodes there are; one that does not answer is a finding."""
    for name, problem in answers.items():
        if isinstance(problem, Exception):
            yield Finding.fail(
                "Ray cluster",
                f"It cannot run this project's code: {one_line(problem)}.",
                "Install the project there as on the driver, and look into Ray's logs.",
                name,
            )
    yield Finding.ok("Ray cluster", f"Nodes alive: {', '.join(cluster.names)}.", CLUSTER)
    for name in cluster.dead:
        yield Finding.warn(
            "Ray cluster",
            "This node has left the cluster.",
            "Start it again if that was not meant; the others go on without it.",
            name,
        )
