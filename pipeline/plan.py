"""What a sweep would take, before it is paid for: how many networks, and what each costs."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from models import ModelConfig, build_model
from pipeline.calibration import TrainingRate, measure_suite, measure_training
from pipeline.config import SpaceConfig, TrialConfig, input_spec
from pipeline.costs import Case, Phase, Plan, front_size, go_on
from pipeline.data import Dataset
from pipeline.evaluation import block_ranges
from pipeline.evaluator import EvaluationJob
from pipeline.files import StorePath
from pipeline.judging import audit_judgement, judgements
from pipeline.plan_store import PlanStore
from pipeline.records import TrialRow
from pipeline.resources import Shares
from pipeline.search.front import front_rows
from pipeline.search.points import grid_points
from pipeline.search.rules import applies
from pipeline.suite_costs import Fate, SuiteRates, job_seconds
from pipeline.training import StrategyConfig

ASSUMED_FATES = {case: Fate(clean=1.0, robust=case.value) for case in Case}
"""Nobody survives, half do, all do: where too few networks of the sweep have been judged."""
# What a sweep takes besides steps; docs/planning.md says how it was measured.
START_S = 8.0
"""From the command to the first trial: imports, Ray, a worker."""
END_S = 10.0
"""The report's page, and what MLflow still has to take."""
WORKER_S = 3.2
"""CPU seconds of a worker's start."""
BLOCK_S = 0.11
"""CPU seconds of a block besides its computation."""
EPOCH_S = 0.1
"""CPU seconds of an epoch besides: its report and its checkpoint."""
BLOCK_BYTES = 10_000
NETWORK_BYTES = 150_000
BASE_BYTES = 4_000_000
"""Files of a block, of a network besides its weights, and of the sweep, MLflow's included."""
SPREAD = 0.2
"""Steps may turn out so much faster or slower than those that were measured."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the sweep would run."""

    device: torch.device
    share: Shares
    slots: float
    """CPUs of this machine; on a GPU, GPUs."""

    def worker(self, what: str, case: Case) -> float:
        """CPUs or GPUs that a `trial` or an `evaluation` takes; those that share a GPU may wait."""
        if self.device.type == "cpu":
            return float(getattr(self.share, f"{what}_cpus"))
        part = float(getattr(self.share, f"{what}_gpus"))
        return case.between(part, max(part, 1.0))


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What was measured: seconds of one worker."""

    trainings_s: dict[str, list[float]]
    """Of a whole training, by strategy: of its cheapest and its dearest setting."""
    rates: dict[str, TrainingRate]
    """By strategy, of the cheapest setting."""
    suites: list[SuiteRates]
    """Of each network that the space may build."""
    fates: dict[Case, Fate]
    """How samples fare."""


class Planner:
    """A space, what of it is stored, and what its steps cost; plans any number of trials."""

    def __init__(
        self, space: SpaceConfig, dataset: Dataset, store: StorePath, name: str, target: Target
    ) -> None:
        """Look into the store; until `measure`, a plan counts networks and blocks alone."""
        self.space, self.dataset, self.store, self.target = space, dataset, store, target
        self.stored = PlanStore(store, name)
        self.selection, self.reporting = judgements(space, dataset, store)
        self.audit = audit_judgement(space, dataset, store)
        self.costs: Costs | None = None
        self._shares: dict[tuple[str, str], float] = {}
        self._baselines = [_row(label, space.trial(label)) for label in space.baselines]

    def measure(self) -> Costs:
        """Run a few steps of each strategy and of each kind of attack, one after another."""
        space, device, share = self.space, self.target.device, self.target.share
        trainings_s: dict[str, list[float]] = {}
        rates: dict[str, TrainingRate] = {}
        networks: dict[ModelConfig, TrialConfig] = {}
        for label in dict.fromkeys([*space.baselines, *space.search.strategies]):
            for trial in _ends(space, label):
                rate = measure_training(
                    trial, self.dataset, device, share.trial_cpus, space.compute.compile
                )
                epoch_s = rate.epoch_s(len(self.dataset.train), trial.training.batch_size)
                trainings_s.setdefault(label, []).append(trial.training.epochs * epoch_s)
                rates.setdefault(label, rate)
                networks.setdefault(trial.model, trial)
        names = ["evaluation", "report", *(["audit"] if self.audit else [])]
        members = [member for name in names for member in self._job(name, _row("any")).members]
        block = space.evaluation.block_size
        suites = [
            measure_suite(trial, self.dataset, members, block, device, share.evaluation_cpus)
            for trial in networks.values()
        ]
        fates = self.stored.fates() or ASSUMED_FATES
        self.costs = Costs(trainings_s=trainings_s, rates=rates, suites=suites, fates=fates)
        return self.costs

    def plan(self, case: Case, num_trials: int) -> Plan:
        """What is left to do of a sweep of so many trials besides the baselines."""
        report, seeds = self.space.report, self.space.seeds
        alive, baselines = self._alive(num_trials), self._baselines
        finish, epochs = self._halved(case, len(alive))
        front = self._front(case, alive, finish)
        settings = len(baselines) + (finish if report.trials == "all" else front)
        known = [*baselines, *alive]
        phases = self._trainings(case, baselines, alive, epochs)
        phases.append(self._judging(case, "evaluation", len(baselines) + finish, known))
        if seeds > 1:
            phases.append(self._replicates(case, settings * (seeds - 1)))
        phases.append(self._judging(case, "report", settings * seeds, known))
        if self.audit is not None:
            phases.append(self._judging(case, "audit", len(baselines) + front, known))
        return Plan(
            case=case,
            phases=[*(phase for phase in phases if phase.count), self._overhead()],
            slots=self.target.slots,
        )

    def num_trained(self, num_trials: int) -> int:
        """Networks of the sweep that need no training any more."""
        rows, epochs = [*self._baselines, *self._searched(num_trials)], self.space.training.epochs
        return sum(self.stored.epochs(row.fingerprint) >= epochs for row in rows)

    def knows_front(self, num_trials: int) -> bool:
        """Whether all searched trials are judged, so that the front is known."""
        return self.stored.judged(self._alive(num_trials)) is not None

    def _alive(self, num_trials: int) -> list[TrialRow]:
        """Searched trials that did not fail and were not stopped."""
        ended = self.stored.ended()
        return [row for row in self._searched(num_trials) if row.fingerprint not in ended]

    def _searched(self, num_trials: int) -> list[TrialRow]:
        """Searched trials, each network once; one that is not yet proposed has no fingerprint."""
        space, labels = self.space, self.space.search.strategies
        if space.search.sampler == "grid":
            points = grid_points(space)[:num_trials]
            rows = [_row(label, space.trial(label, values)) for label, values in points]
        else:
            rows = [row for row in self.stored.trials if row.role == "searched"][:num_trials]
            unknown = range(num_trials - len(rows))
            rows += [_row(labels[index % len(labels)]) for index in unknown]
        taken = {row.fingerprint for row in self._baselines}
        unique = {row.fingerprint or str(index): row for index, row in enumerate(rows)}
        return [row for row in unique.values() if row.fingerprint not in taken]

    def _front(self, case: Case, searched: Sequence[TrialRow], finish: float) -> float:
        """Searched trials on the front: as stored where all are judged."""
        directions = self.space.search.directions
        known = self.stored.judged(searched)
        if known is None:
            return front_size(case, round(finish), len(directions))
        return len(front_rows(known, directions))

    def _halved(self, case: Case, count: int) -> tuple[float, float]:
        """Of so many searched trials, those that train to their end; the share of all epochs."""
        halving, epochs = self.space.search.halving, self.space.training.epochs
        left, before, spent = float(count), 0, 0.0
        for look in halving.looks(epochs) if halving else []:
            spent, before = spent + left * (look - before), look
            left = go_on(case, round(left), halving.factor) if halving else left
        spent += left * (epochs - before)
        return left, spent / max(count * epochs, 1)

    def _trainings(
        self, case: Case, baselines: Sequence[TrialRow], searched: Sequence[TrialRow], share: float
    ) -> list[Phase]:
        """What is left to train, a phase a strategy; of searched networks a share of the epochs."""
        epochs = self.space.training.epochs
        counts: dict[str, int] = defaultdict(int)
        wholes: dict[str, float] = defaultdict(float)
        for row, part in [*((row, 1.0) for row in baselines), *((row, share) for row in searched)]:
            left = 1.0 - min(self.stored.epochs(row.fingerprint) / epochs, 1.0)
            counts[row.strategy] += left > 0
            wholes[row.strategy] += left * part
        return [
            Phase(
                stage="search",
                name=f"train {label}",
                count=count,
                each=self._steps(label),
                work_s=wholes[label]
                * self._training_s(case, label)
                * self.target.worker("trial", case),
                longest_s=self._training_s(case, label) if count else 0.0,
                bytes=count * self._network_bytes,
            )
            for label, count in counts.items()
        ]

    def _training_s(self, case: Case, label: str) -> float:
        """Seconds of one training."""
        if self.costs is None:
            return 0.0
        epochs, halving = self.space.training.epochs, self.space.search.halving
        look_s = 0.0
        if halving is not None:
            step = self.costs.suites[0].step(("gradient", "own", "")).seconds(halving.num_samples)
            look_s = len(halving.looks(epochs)) * halving.num_steps * step
        steps_s = case.of(self.costs.trainings_s[label]) * _spread(case)
        return steps_s + epochs * EPOCH_S + look_s

    def _steps(self, label: str) -> str:
        training, size = self.space.training, len(self.dataset.train)
        steps = f"{training.epochs} x {math.ceil(size / training.batch_size)} steps"
        if self.costs is None:
            passes = passes_per_step(self.space.strategies[label])
            return f"{steps} of {passes} pass{'es' if passes > 1 else ''}"
        return f"{steps} of {duration(self.costs.rates[label].step_s)}"

    def _judging(self, case: Case, name: str, count: float, known: Sequence[TrialRow]) -> Phase:
        """So many networks under a suite, less what is stored of it."""
        done = sum(self._done(name, row) for row in known if row.fingerprint)
        job, count = self._job(name, _row("any")), max(count - done, 0.0)
        one_s, longest_s = self._judging_s(case, job)
        members = sum(1 for member in job.members if member.attack is not None)
        broken = case.value * job.num_samples * self.dataset.train.images[0].size * 2
        return Phase(
            stage="search" if name == "evaluation" else name,
            name=name,
            count=count,
            each=f"{members} attacks, {job.num_samples} samples",
            work_s=count * one_s * self.target.worker("evaluation", case),
            longest_s=longest_s if count else 0.0,
            bytes=count * (_num_blocks(job) * BLOCK_BYTES + broken),
        )

    def _judging_s(self, case: Case, job: EvaluationJob) -> tuple[float, float]:
        """Seconds of one network's evaluation, and of its longest chain of blocks."""
        if self.costs is None:
            return 0.0, 0.0
        epsilon, fate = self.selection.epsilon, self.costs.fates[case]
        found = [job_seconds(job, epsilon, rates, fate, BLOCK_S) for rates in self.costs.suites]
        one_s, longest_s = (case.of(values) * _spread(case) for values in zip(*found, strict=True))
        return one_s, longest_s

    def _replicates(self, case: Case, count: float) -> Phase:
        """Further seeds of what is reported: trained, and judged as in the search."""
        count = max(count - sum(row.role == "replicate" for row in self.stored.trials), 0.0)
        labels = [*self.space.baselines, *self.space.search.strategies]
        one_s = sum(self._training_s(case, label) for label in labels) / len(labels)
        job = self._job("evaluation", _row("any"))
        judged_s, longest_s = self._judging_s(case, job)
        work_s = one_s * self.target.worker("trial", case)
        work_s += judged_s * self.target.worker("evaluation", case)
        return Phase(
            stage="replicates",
            name="further seeds",
            count=count,
            each="a training and an evaluation",
            work_s=count * work_s,
            longest_s=one_s + longest_s,
            bytes=count * (self._network_bytes + _num_blocks(job) * BLOCK_BYTES),
        )

    def _overhead(self) -> Phase:
        """Engines, workers, the page; as much in every case."""
        on_cpu = self.target.device.type == "cpu"
        workers_s = 3 * self.target.slots * WORKER_S if on_cpu else 0.0
        return Phase(
            stage="overhead",
            name="start and end",
            count=1,
            each="Ray, workers, the page",
            work_s=START_S + END_S + workers_s if on_cpu else 0.0,
            longest_s=START_S + END_S,
            bytes=BASE_BYTES,
        )

    def _done(self, name: str, row: TrialRow) -> float:
        """Share of what this phase asks of a network that is stored."""
        key = name, row.fingerprint
        if key not in self._shares:
            self._shares[key] = self.stored.share(self._job(name, row))
        return self._shares[key]

    def _job(self, name: str, row: TrialRow) -> EvaluationJob:
        """What the sweep will ask of a network in this phase."""
        if name == "audit":
            assert self.audit is not None
            randomised = self.space.model.randomised
            return self.audit.audit_job(row, self.store, self._baselines, randomised=randomised)
        judgement = self.selection if name == "evaluation" else self.reporting
        return judgement.job(row, self.store)

    @cached_property
    def _network_bytes(self) -> float:
        """Of weights and momentum, in the store and in MLflow, and of what is told of a network."""
        model = build_model(self.space.model, input_spec(self.dataset))
        numbers = sum(parameter.numel() for parameter in model.parameters())
        chosen = self.space.training.selection != "last"
        return float(numbers * 4 * (5 if chosen else 4) + NETWORK_BYTES)


def _num_blocks(job: EvaluationJob) -> int:
    return len(job.members) * len(block_ranges(job.num_samples, job.block_size))


def _spread(case: Case) -> float:
    return 1.0 + case.between(-SPREAD, SPREAD)


def _ends(space: SpaceConfig, label: str) -> list[TrialConfig]:
    """A trial of the strategy; of its least and its most setting where these may cost otherwise.

    Settings that are not whole numbers, such as weights and rates, change no cost.
    """
    searched = space.search.parameters if label in space.search.strategies else {}
    least, most = {}, {}
    for path, parameter in searched.items():
        if not applies(space, label, path):
            continue
        values = [value for _, value in parameter.examples()]
        ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
        costs_alike = any(isinstance(value, float) for value in values)
        least[path], most[path] = ordered[0], ordered[0 if costs_alike else -1]
    return [space.trial(label, values) for values in ([least] if least == most else [least, most])]


def _row(label: str, trial: TrialConfig | None = None) -> TrialRow:
    """A trial as far as it is known."""
    return TrialRow(
        label=label,
        fingerprint="" if trial is None else trial.fingerprint(),
        role="baseline",
        strategy=label,
        method="",
        parameters={},
        config={},
    )


def duration(seconds: float) -> str:
    """Seconds for people: `28 ms`, `4.1 s`, `6.2 min`, `3.1 h`, `12 days`."""
    units = (("days", 86400, 2), ("h", 3600, 1.5), ("min", 60, 1.5), ("s", 1, 1), ("ms", 1e-3, 0))
    name, size = next((name, size) for name, size, least in units if seconds >= least * size)
    value = seconds / size
    return f"{value:.0f} {name}" if value >= 10 else f"{value:.2g} {name}"


def passes_per_step(strategy: StrategyConfig) -> int:
    """Forward-and-backward passes of one training step.

    One for the loss; a penalty adds the gradient's backward and a second forward and backward,
    counted as two; an attack adds one a step.
    """
    attack = getattr(strategy, "attack", None)
    attack_steps = 0 if attack is None else getattr(strategy, "num_steps", 1)
    if attack in ("fgsm", "mixed"):
        attack_steps = 1
    has_penalty = strategy.method in ("sr", "sr_star", "gr")
    return 1 + attack_steps + (2 if has_penalty else 0)
