"""Sweeps of trials that do not train: what is left is the cost of the sweep itself."""

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from benchmarks.wait_trial import wait_trial
from pipeline.adapters.optuna_ledger import OptunaLedger
from pipeline.adapters.ray_tune import ENDED, TrialEvents, run_trials
from pipeline.config import SpaceConfig
from pipeline.records import Outcome, Phase, TrialRow
from pipeline.sweep import read_space
from pipeline.sweep_files import SweepFiles

SPACE = """
name: {name}
data: {{dataset: digits}}
model: {{architecture: small}}
strategies: {{sr: {{method: sr}}}}
search:
  sampler: {sampler}
  num_trials: {num_trials}
  strategies: [sr]
  parameters:
    strategy.sparsity_weight: {{low: 0.001, high: 0.1, log: true}}
evaluation: {{suite: quick}}
"""


@dataclass(kw_only=True)
class Timeline:
    """When the trials of a sweep ended.

    Attributes:
        started: Of the sweep, on the clock of `time.perf_counter`, in seconds.
        ended: One entry a trial, in the order in which they ended, same clock.
        cpu: CPU seconds that the driver's process had used by then, one entry a trial.
        ledger: Seconds that the driver had spent in the ledger by then, one entry a trial.
        memory: Resident memory of the driver's process at that time, bytes, one entry a trial.
        memory_at_start: The same before the first trial.
        done: When the call that ran the sweep came back.
    """

    started: float = field(default_factory=time.perf_counter)
    ended: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    ledger: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    memory_at_start: int = field(default_factory=lambda: resident())
    done: float = 0.0

    def note(self, ledger_s: float = 0.0) -> None:
        """A trial has ended just now; so long were all calls of the ledger until then."""
        self.ended.append(time.perf_counter())
        self.cpu.append(time.process_time())
        self.ledger.append(ledger_s)
        self.memory.append(resident())

    def seconds_per_trial(self, start: int = 0, stop: int | None = None) -> float:
        """Mean seconds between the ends of trials; from the sweep's start for `start` 0.

        Args:
            start: Number of trials that had ended before.
            stop: Number of trials that had ended at the last one counted; all for None.
        """
        stop = len(self.ended) if stop is None else stop
        before = self.ended[start - 1] if start else self.started
        return (self.ended[stop - 1] - before) / (stop - start)

    def cpu_per_trial(self, start: int, stop: int) -> float:
        """Mean CPU seconds of the driver between the ends of trials, counted as above."""
        return _per_trial(self.cpu, start, stop)

    def ledger_per_trial(self, start: int, stop: int) -> float:
        """Mean seconds in the ledger between the ends of trials, counted as above."""
        return _per_trial(self.ledger, start, stop)


def _per_trial(totals: list[float], start: int, stop: int) -> float:
    """Mean growth of a running total; what came before the first trial's end is left out."""
    return (totals[stop - 1] - totals[max(start - 1, 0)]) / (stop - max(start, 1))


def resident() -> int:
    """Resident memory of this process, bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def space_of(
    folder: Path, num_trials: int, sampler: str = "tpe", name: str = "cost"
) -> SpaceConfig:
    """A checked space of one parameter.

    Args:
        folder: Where its file is written.
        num_trials: To be proposed.
        sampler: Of the search.
        name: Of the study.
    """
    path = folder / "space.yaml"
    path.write_text(SPACE.format(name=name, sampler=sampler, num_trials=num_trials))
    return read_space(path, [])


def run_ledger_sweep(
    num_trials: int,
    seconds: float,
    *,
    num_cpus: int = 1,
    url: str | None = None,
    sampler: str = "tpe",
    progress: Callable[[int], None] = lambda number: None,
) -> Timeline:
    """The project's own loop: a ledger in a database, its searcher, the sweep's files.

    Args:
        num_trials: To run.
        seconds: Of each.
        num_cpus: Of each; with the cluster's CPUs it decides how many run at once.
        url: Database of the study; None: an SQLite file, as is the default of a sweep.
        sampler: Of the search.
        progress: Called with the number of trials that have ended.
    """
    with tempfile.TemporaryDirectory(prefix="sweep-cost-") as place:
        folder = Path(place)
        name = f"cost-{time.time_ns()}"
        space = space_of(folder, num_trials, sampler)
        ledger = OptunaLedger(url or f"sqlite:///{folder / 'study.db'}", name, space, resume=False)
        files = SweepFiles(folder, name)
        timeline, in_ledger = Timeline(), 0.0

        def timed(call: Callable[..., Any], *arguments: Any) -> Any:
            nonlocal in_ledger
            began = time.perf_counter()
            try:
                return call(*arguments)
            finally:
                in_ledger += time.perf_counter() - began

        def started(row: TrialRow) -> None:
            files.write_trials(ledger.rows)

        def trained(row: TrialRow) -> None:
            row = dataclasses.replace(row, phase=Phase.TRAINED, training_s=seconds)
            timed(ledger.update, row)
            metrics = {"clean_accuracy": 0.9, "robust_accuracy": sum(row.parameters.values())}
            told = dataclasses.replace(
                row, phase=Phase.TOLD, outcome=Outcome.COMPLETE, metrics=metrics
            )
            timed(ledger.update, told)
            files.write_trials(ledger.rows)
            timeline.note(in_ledger)
            progress(len(timeline.ended))

        def failed(row: TrialRow, reason: str, diverged: bool) -> None:
            raise RuntimeError(f"{row.label}: {reason}")

        events = TrialEvents(
            ask=lambda: timed(ledger.ask),
            full=lambda: False,
            started=started,
            epoch=lambda row, metrics: None,
            trained=trained,
            failed=failed,
        )
        run_trials(
            events,
            ray.put({}),
            {"seconds": seconds, "ended": ENDED},
            num_cpus=num_cpus,
            num_gpus=0,
            scratch=folder / "ray",
            trainable=wait_trial,
        )
        timeline.done = time.perf_counter()
    return timeline


def run_plain_tune(
    num_trials: int, seconds: float, *, num_cpus: int = 1, reuse_actors: bool = False
) -> Timeline:
    """Ray Tune as its documentation shows it, with its OptunaSearch over the same space.

    The study lies in an SQLite file, too; of Tune's settings only `reuse_actors` is not its own
    default where that is asked for, and the output is off.
    """
    with tempfile.TemporaryDirectory(prefix="tune-cost-") as place:
        folder = Path(place)
        timeline = Timeline()

        class Clock(tune.Callback):  # type: ignore[misc]
            def on_trial_complete(
                self, iteration: int, trials: Any, trial: Any, **info: Any
            ) -> None:
                timeline.note()

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        search = OptunaSearch(
            space={"x": optuna.distributions.FloatDistribution(0.001, 0.1, log=True)},
            metric=["clean_accuracy", "robust_accuracy"],
            mode=["max", "max"],
            sampler=optuna.samplers.TPESampler(seed=0),
            storage=optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}"),
        )
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(
                    wait_trial, splits={}, settings={"seconds": seconds, "ended": ENDED}
                ),
                {"cpu": num_cpus},
            ),
            tune_config=tune.TuneConfig(
                search_alg=search, num_samples=num_trials, reuse_actors=reuse_actors
            ),
            run_config=tune.RunConfig(
                name="trials", storage_path=str(folder), verbose=0, callbacks=[Clock()]
            ),
        ).fit()
        timeline.done = time.perf_counter()
    return timeline
