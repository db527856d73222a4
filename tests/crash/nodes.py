"""A sweep on a cluster of two working nodes of which one dies: `nodes.py WHEN ARGUMENT...`.

WHEN is `training` or `evaluating`, or `never`. Nodes are real Ray nodes on this machine; one dies
with all its workers, by SIGKILL.
"""

import sys
import threading
import time

import ray
from ray.cluster_utils import Cluster

from pipeline.adapters.parquet_store import ParquetStore
from pipeline.sweep import main
from pipeline.sweep_driver import Driver

CALLS = {"training": (Driver, "_epoch", 2), "evaluating": (ParquetStore, "put", 4)}
"""What is called, and at which call the node dies."""


def arm(when: str, cluster: Cluster, node: object) -> None:
    """Let the node die beside the chosen call."""
    owner, name, number = CALLS[when]
    original, calls = getattr(owner, name), 0

    def counted(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == number:
            sys.stdout.write(f"a node dies while {when}\n")
            threading.Thread(target=cluster.remove_node, args=(node, False)).start()
        return original(*args, **kwargs)

    setattr(owner, name, counted)


if __name__ == "__main__":
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    if sys.argv[1] != "never":
        arm(sys.argv[1], cluster, nodes[1])
    code = main(sys.argv[2:])
    deadline = time.monotonic() + 60
    while (alive := sum(node["Alive"] for node in ray.nodes())) > 2 and time.monotonic() < deadline:
        time.sleep(1)
    sys.stdout.write(f"{alive} nodes are alive\n")
    ray.shutdown()
    cluster.shutdown()
    sys.exit(code)
