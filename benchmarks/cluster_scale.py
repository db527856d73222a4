"""A study on many nodes that are only declared: `python -m benchmarks.cluster_scale`.

Trials do nothing, so that what is measured is the driver, Ray's scheduling and the study's
database. The nodes are real raylets on this one machine with CPUs that are declared, not real.
"""

import argparse

import ray
from ray.cluster_utils import Cluster

from benchmarks.report import Cell, Table, add_outputs, publish
from benchmarks.sweeps import Timeline, run_ledger_sweep

AT_ONCE = 3
"""Raylets that start at the same time: more on few cores miss their own deadlines."""
MARKS = 4
"""Lines of the table: so many equal parts of the run."""


def lines(timeline: Timeline) -> list[dict[str, Cell]]:
    """A line for each part of the run."""
    count = len(timeline.ended)
    found: list[dict[str, Cell]] = []
    for part in range(MARKS):
        start, stop = count * part // MARKS, count * (part + 1) // MARKS
        found.append(
            {
                "trials": f"{start + 1} to {stop}",
                "trial_s": timeline.seconds_per_trial(start, stop),
                "ledger_s": timeline.ledger_per_trial(start, stop),
                "driver_cpu_s": timeline.cpu_per_trial(start, stop),
                "driver_mib": round(timeline.memory[stop - 1] / 2**20),
            }
        )
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster_scale", description=__doc__)
    parser.add_argument("--trials", type=int, default=2000, help="of the study")
    parser.add_argument("--seconds", type=float, default=0.0, help="that a trial waits")
    parser.add_argument("--raylets", type=int, default=10, help="Ray nodes on this machine")
    parser.add_argument("--cpus", type=int, default=5, help="declared by each")
    parser.add_argument("--sampler", default="tpe", help="of the search")
    parser.add_argument("--url", help="database of the study; SQLite in a new file by default")
    add_outputs(parser)
    options = parser.parse_args()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for number_of_nodes in range(1, options.raylets + 1):
        cluster.add_node(num_cpus=options.cpus, object_store_memory=80 * 2**20, wait=False)
        if number_of_nodes % AT_ONCE == 0 or number_of_nodes == options.raylets:
            cluster.wait_for_nodes(timeout=300)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        timeline = run_ledger_sweep(
            options.trials, options.seconds, url=options.url, sampler=options.sampler
        )
    finally:
        ray.shutdown()
        cluster.shutdown()
    database = (options.url or "sqlite").partition(":")[0].partition("+")[0]
    note = (
        f"{options.raylets} raylets declaring {options.cpus} CPUs each; {options.trials} trials of "
        f"{options.seconds:g} s; sampler {options.sampler}; study in {database}; "
        f"driver at the start {timeline.memory_at_start / 2**20:.0f} MiB"
    )
    columns = {
        "trials": "trials",
        "trial_s": "s a trial",
        "ledger_s": "of it in the ledger",
        "driver_cpu_s": "driver's CPU s",
        "driver_mib": "driver's MiB",
    }
    publish(Table(columns=columns, rows=lines(timeline), note=note), options)


if __name__ == "__main__":
    main()
