"""What a sweep costs per trial beyond its trials: `python -m benchmarks.sweep_overhead`.

Trials wait instead of training. Beside the project's loop (ledger, searcher, sweep files) runs
Ray Tune alone with its OptunaSearch. Each run has a process and a Ray of its own; the variants
alternate.
"""

import argparse
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import ray

from benchmarks.report import Cell, Table, add_outputs, publish
from benchmarks.sweeps import Timeline, run_ledger_sweep, run_plain_tune

Variant = Callable[[int, float], Timeline]
VARIANTS: dict[str, Variant] = {
    "spikeproof": run_ledger_sweep,
    "Ray Tune": run_plain_tune,
    "Ray Tune, reuse_actors": partial(run_plain_tune, reuse_actors=True),
}
WINDOW = 100
"""Trials at the start and at the end of a run over which its growth is read."""


def measured(variant: str, num_trials: int, seconds: float, slots: int) -> Timeline:
    """One run on a Ray of its own with so many CPUs declared."""
    ray.init(
        address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False,
        logging_level="ERROR", object_store_memory=200 * 2**20,
    )  # fmt: skip
    try:
        return VARIANTS[variant](num_trials, seconds)
    finally:
        ray.shutdown()


def alone(variant: str, num_trials: int, seconds: float, slots: int) -> Timeline:
    """The same in a process of its own: what one variant sets does not reach the next."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measured, variant, num_trials, seconds, slots).result()


def row(name: str, runs: list[Timeline], seconds: float, slots: int) -> dict[str, Cell]:
    """A line of the table: of all runs of one variant."""
    ideal = seconds / slots
    count = len(runs[0].ended)
    window = min(WINDOW, count // 2)
    beyond = [(run.done - run.started) / count - ideal for run in runs]
    first = [run.seconds_per_trial(0, window) - ideal for run in runs]
    last = [run.seconds_per_trial(count - window) - ideal for run in runs]
    first_cpu = [run.cpu_per_trial(0, window) for run in runs]
    last_cpu = [run.cpu_per_trial(count - window, count) for run in runs]
    return {
        "sweep": name,
        "trials": count,
        "trial_s": seconds,
        "runs": len(runs),
        "beyond_s": beyond,
        "first_s": first,
        "last_s": last,
        "first_cpu_s": first_cpu,
        "last_cpu_s": last_cpu,
    }


COLUMNS = {
    "sweep": "sweep",
    "trials": "trials",
    "trial_s": "s a trial",
    "runs": "runs",
    "beyond_s": "s beyond the ideal, a trial",
    "first_s": "first trials",
    "last_s": "last trials",
    "first_cpu_s": "driver's CPU s, first",
    "last_cpu_s": "last",
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sweep_overhead", description=__doc__
    )
    parser.add_argument("--trials", type=int, nargs="+", default=[100], help="of a run")
    parser.add_argument("--seconds", type=float, nargs="+", default=[0.0, 2.0], help="of a trial")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each variant")
    parser.add_argument("--slots", type=int, default=2, help="trials at the same time")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--quick", action="store_true", help="ten trials a run, that do not wait")
    add_outputs(parser)
    options = parser.parse_args()
    if options.quick:
        options.trials, options.seconds = [10], [0.0]
    rows: list[dict[str, Cell]] = []
    for num_trials in options.trials:
        for seconds in options.seconds:
            runs: dict[str, list[Timeline]] = {name: [] for name in options.variants}
            for _ in range(options.repeat):
                for name in options.variants:
                    runs[name].append(alone(name, num_trials, seconds, options.slots))
            rows += [row(name, found, seconds, options.slots) for name, found in runs.items()]
    note = f"{options.slots} slots; first and last: {WINDOW} trials each, or a half"
    publish(Table(columns=COLUMNS, rows=rows, note=note), options)


if __name__ == "__main__":
    main()
