"""`--plan` and `--budget-hours`: plans spaces, prints what they take, holds it against a budget."""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.config import SpaceConfig
from pipeline.console import Progress
from pipeline.costs import Case, Phase, Plan
from pipeline.errors import ConfigError
from pipeline.files import StorePath
from pipeline.fit import require_fit
from pipeline.plan import SPREAD, Planner, Target, duration
from pipeline.resources import Shares, local_resources, shares
from pipeline.search.points import num_searched
from pipeline.space_file import located
from pipeline.stored_data import load_stored
from pipeline.sweep_files import SweepFiles
from pipeline.training.loop import DivergedError
from pipeline.worker import choose_device

TIMES = (1, 2, 4, 8)
"""How many times this machine's resources wall-clock is told for."""
Spaces = Sequence[tuple[Path, SpaceConfig, str]]
"""File, what it says, and the sweep's name."""


class SpacePlan:
    """One space's plans, in all cases."""

    def __init__(self, file: Path, space: SpaceConfig, name: str, store: StorePath) -> None:
        """Count, and try a few steps where this machine has what the space asks for.

        Raises:
            ConfigError: The data is absent, the store is damaged, the network does not fit the
                data, or not even a few steps of training stay finite.
        """
        self.space, self.why_not = space, ""
        self.complete = SweepFiles(store, name).is_complete(space)
        available = local_resources()
        try:
            share = shares(space.compute, available, "this machine")
        except ConfigError as error:
            self.why_not = str(error)
            share = Shares(trial_cpus=1, trial_gpus=0, evaluation_cpus=1, evaluation_gpus=0)
        device = choose_device("cpu" if self.why_not else space.compute.device)
        self.unit = "GPU" if device.type == "cuda" else "CPU"
        target = Target(device=device, share=share, slots=available[self.unit])
        dataset = load_stored(space.data, store)
        require_fit(space, dataset)
        self.planner = Planner(space, dataset, store, name, target)
        began = time.perf_counter()
        try:
            if not (self.complete or self.why_not):
                self.planner.measure()
            self.tried_s = time.perf_counter() - began
            self.plans = self.of(num_searched(space))
        except DivergedError as error:
            raise ConfigError(f"{file}: after a few steps of training {error}") from error

    def of(self, num_trials: int) -> dict[Case, Plan]:
        """The plans of so many searched trials; of a complete sweep, empty ones."""
        if self.complete:
            slots = self.planner.target.slots
            return {case: Plan(case=case, phases=[], slots=slots) for case in Case}
        return {case: self.planner.plan(case, num_trials) for case in Case}

    def hours(self, num_trials: int) -> float:
        """CPU- or GPU-hours, about."""
        return self.of(num_trials)[Case.ABOUT].work_s / 3600

    def fitting(self, budget: float) -> int:
        """The most searched trials whose sweep takes at most so many hours; 0 if none does."""
        least, most = 0, num_searched(self.space)
        while least < most:  # hours grow with their number
            middle = (least + most + 1) // 2
            least, most = (middle, most) if self.hours(middle) <= budget else (least, middle - 1)
        return least


def _planned(spaces: Spaces, store: StorePath, overrides: Sequence[str]) -> Iterator[SpacePlan]:
    """Each space's plan; what fits neither data nor machine is told at its line."""
    for file, space, name in spaces:
        with located(file, overrides):
            yield SpacePlan(file, space, name, store)


def show(
    spaces: Spaces,
    store: StorePath,
    overrides: Sequence[str],
    *,
    address: str | None,
    budget: float | None,
) -> int:
    """Print what the spaces take; returns 2 where that is more than the budget, else 0.

    Raises:
        ConfigError: Nothing could be timed to hold against the budget.
    """
    console, found = Progress(), list[SpacePlan]()
    for plan in _planned(spaces, store, overrides):
        found.append(plan)
        for line in _facts(plan):
            console.plain(line)
        if not plan.complete:
            console.table(_table(plan))
            if not plan.why_not:
                console.table(_wall_clock(plan))
            for line in _assumptions(plan, address):
                console.plain(line)
        console.plain("")
    if len(found) > 1 and not any(plan.why_not for plan in found):
        console.plain(f"all {len(found)} sweeps: {_sum(found)}")
    if budget is None:
        return 0
    verdict = _verdict(found, budget)
    console.plain(verdict or f"within --budget-hours {budget:g}")
    return 2 if verdict else 0


def within_budget(
    spaces: Spaces,
    store: StorePath,
    overrides: Sequence[str],
    budget: float,
    *,
    trim: bool,
    quiet: bool,
) -> int | None:
    """The number of searched trials that the budget allows; None for all.

    Raises:
        ConfigError: The plan is beyond it; or even with one searched trial, if it may be trimmed.
    """
    found = list(_planned(spaces, store, overrides))
    verdict, fitting = _verdict(found, budget), None
    if verdict:
        fitting = found[0].fitting(budget) if trim else 0
        if not fitting:
            raise ConfigError(verdict)
        text = f"{fitting} of {num_searched(found[0].space)} searched trials"
    else:
        text = _sum(found)
    Progress(quiet=quiet).note(f"planned within --budget-hours {budget:g}: {text}")
    return fitting


def _verdict(found: Sequence[SpacePlan], budget: float) -> str:
    """Why the spaces do not fit into the budget, and what to do; empty if they do."""
    for plan in found:
        if plan.why_not:
            raise ConfigError(f"--budget-hours: nothing can be timed here: {plan.why_not}")
    if sum(plan.plans[Case.ABOUT].work_s for plan in found) <= budget * 3600:
        return ""
    text = f"--budget-hours {budget:g}: the plan takes {_sum(found)}"
    if len(found) > 1:
        return f"{text}; run fewer spaces, or allow more"
    (plan,) = found
    searched = num_searched(plan.space)
    if fitting := plan.fitting(budget):
        would = f"{fitting} of {searched} searched trials would fit"
        return f"{text}; {would}: add --trim, or write --trials {fitting}"
    alone = "the baselines and one searched trial" if searched else "the baselines"
    hours = f"{plan.hours(min(searched, 1)):.2g} {plan.unit}-hours"
    return f"{text}; {alone} take about {hours}: allow as much, or run less"


def _sum(found: Sequence[SpacePlan]) -> str:
    """`about 0.14 CPU-hours (0.11 to 0.2)`, by kind of resource."""
    parts = []
    for unit in dict.fromkeys(plan.unit for plan in found):
        plans = [plan.plans for plan in found if plan.unit == unit]
        low, about, high = (sum(p[case].work_s for p in plans) / 3600 for case in Case)
        parts.append(f"about {about:.2g} {unit}-hours ({low:.2g} to {high:.2g})")
    return " and ".join(parts)


def _facts(plan: SpacePlan) -> Iterator[str]:
    """What the space is, in counts."""
    space, dataset = plan.space, plan.planner.dataset
    searched = f", {num_searched(space)} by {space.search.sampler}"
    seeds = f"; what is reported, with {space.seeds} seeds" if space.seeds > 1 else ""
    yield f"{space.name}: {space.description}".rstrip(": ")
    yield f"data        {dataset.note}"
    yield (
        f"samples     {len(dataset.train)} to train, {len(dataset.validation)} to select, "
        f"{len(dataset.test)} to report"
    )
    yield (
        f"trials      {len(space.baselines)} baselines"
        f"{searched if space.search.strategies else ''}{seeds}"
    )
    if plan.complete:
        yield "complete    nothing is left to run; to plan it anew, name another --store or --name"
    elif trained := plan.planner.num_trained(num_searched(space)):
        yield f"stored      {trained} networks are trained; only what is left is counted below"


def _table(plan: SpacePlan) -> list[list[str]]:
    """A row a phase, below the titles; where nothing could be timed, counts alone."""
    low, about, high = (plan.plans[case] for case in Case)
    rows = [["", "networks", "each takes", f"{plan.unit} time", "from / to"]]
    ends = [{phase.name: phase for phase in end.phases} for end in (low, high)]
    for phase in about.phases:
        least, most = (end.get(phase.name, phase) for end in ends)
        times = _times(least.work_s, phase.work_s, most.work_s)
        rows.append([phase.name, _count(least, phase, most), phase.each, *times])
    rows.append(["in all", "", "", *_times(low.work_s, about.work_s, high.work_s)])
    return [row[:3] for row in rows[:-1]] if plan.why_not else rows


def _wall_clock(plan: SpacePlan) -> list[list[str]]:
    """A row for this machine, and for larger ones."""
    low, about, high = (plan.plans[case] for case in Case)
    rows = [["wall-clock", "about", "from / to"]]
    for factor in TIMES:
        slots = f"on {factor * about.slots:g} {plan.unit}s" + (", as here" if factor == 1 else "")
        rows.append([slots, *_times(*(one.wall_s(factor) for one in (low, about, high)))])
    return rows


def _times(low: float, about: float, high: float) -> list[str]:
    return [duration(about), f"{duration(low)} / {duration(high)}"]


def _count(least: Phase, about: Phase, most: Phase) -> str:
    # Of a network that is judged in part, one.
    low, middle, high = (math.ceil(phase.count) for phase in (least, about, most))
    return str(middle) if low == high else f"{middle} ({low}-{high})"


def _size(number: float) -> str:
    return f"{number / 1e9:.2g} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def _assumptions(plan: SpacePlan, address: str | None) -> Iterator[str]:
    """What the numbers stand on."""
    planner = plan.planner
    yield f"disk        about {_size(plan.plans[Case.ABOUT].bytes)}"
    if planner.costs is None:
        yield f"not timed   {plan.why_not}"
        yield "            run --plan on a machine of the kind that will be used"
        return
    yield (
        f"timed       here, by {plan.tried_s:.0f} s of real training and attack steps; "
        f"if nothing else runs beside; others may differ by {SPREAD:.0%}"
    )
    if not all(rate.whole for rate in planner.costs.rates.values()):
        yield "            on small batches: whole ones take too long to try"
    if address:
        yield f"            the cluster's machines are taken to be like this one, with {plan.unit}s"
    least, about, most = (f"{planner.costs.fates[case].robust:.0%}" for case in Case)
    known = "as those judged so far" if planner.stored.fates() else "assumed, as nobody knows yet"
    yield f"survivors   {about} of the samples, from {least} to {most}: {known}"
    if num_searched(plan.space) > 1 and not planner.knows_front(num_searched(plan.space)):
        yield "front       assumed as large as one of random points, from one trial to all"
