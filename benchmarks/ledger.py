"""What the study's database costs per trial: `python -m benchmarks.ledger`.

The ledger alone, without Ray: each trial is asked for, noted as trained, and told.
"""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

from benchmarks.report import Cell, Table, add_outputs, publish
from benchmarks.sweeps import resident, space_of
from pipeline.adapters.optuna_ledger import OptunaLedger
from pipeline.records import Outcome, Phase

WINDOW = 50
"""Trials before each mark over which its time is read."""


def cost(
    url: str, sampler: str, marks: list[int], folder: Path
) -> list[tuple[float, float, float]]:
    """Wall seconds and CPU seconds a trial just before each mark; resident memory there, MiB."""
    space = space_of(folder, marks[-1], sampler)
    ledger = OptunaLedger(url, f"ledger-{time.time_ns()}", space, resume=False)
    wall, cpu, found = [time.perf_counter()], [time.process_time()], []
    for count in range(1, marks[-1] + 1):
        row = ledger.ask()
        assert row is not None
        row = dataclasses.replace(row, phase=Phase.TRAINED)
        ledger.update(row)
        metrics = {"clean_accuracy": 0.9, "robust_accuracy": sum(row.parameters.values())}
        ledger.update(
            dataclasses.replace(row, phase=Phase.TOLD, outcome=Outcome.COMPLETE, metrics=metrics)
        )
        wall.append(time.perf_counter())
        cpu.append(time.process_time())
        if count in marks:
            seconds = [(clock[-1] - clock[-1 - WINDOW]) / WINDOW for clock in (wall, cpu)]
            found.append((seconds[0], seconds[1], resident() / 2**20))
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--marks", type=int, nargs="+", default=[100, 500, 1000, 2000])
    parser.add_argument("--samplers", nargs="+", default=["tpe"])
    parser.add_argument("--url", nargs="*", default=[], help="databases besides SQLite in a file")
    add_outputs(parser)
    options = parser.parse_args()
    if min(options.marks) < WINDOW:
        parser.error(f"argument --marks: expected numbers from {WINDOW} on")
    marks, rows = sorted(options.marks), list[dict[str, Cell]]()
    for sampler in options.samplers:
        for url in [None, *options.url]:
            with tempfile.TemporaryDirectory(prefix="ledger-") as place:
                folder = Path(place)
                database = url or f"sqlite:///{folder / 'study.db'}"
                for mark, (wall, cpu, memory) in zip(
                    marks, cost(database, sampler, marks, folder), strict=True
                ):
                    kind = database.partition(":")[0].partition("+")[0]
                    rows.append(
                        {
                            "database": kind,
                            "sampler": sampler,
                            "trials": mark,
                            "trial_s": wall,
                            "trial_cpu_s": cpu,
                            "driver_mib": round(memory),
                        }
                    )
    columns = {
        "database": "database",
        "sampler": "sampler",
        "trials": "trials so far",
        "trial_s": "s a trial",
        "trial_cpu_s": "CPU s a trial",
        "driver_mib": "MiB",
    }
    publish(Table(columns=columns, rows=rows), options)


if __name__ == "__main__":
    main()
