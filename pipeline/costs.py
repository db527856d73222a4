"""What a sweep takes, as arithmetic on measured seconds and on what nobody knows beforehand."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Case(Enum):
    """Each plan is made three times: what is not known turns out so."""

    LEAST = 0.0
    ABOUT = 0.5
    MOST = 1.0

    def between(self, least: float, most: float) -> float:
        """One of the two, or midway."""
        return least + self.value * (most - least)

    def of(self, values: Sequence[float]) -> float:
        """The least, the mean or the most of some numbers."""
        mean = sum(values) / len(values)
        return {Case.LEAST: min(values), Case.ABOUT: mean, Case.MOST: max(values)}[self]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Seconds that something takes for a batch: a part of its own, and one for each sample."""

    fixed_s: float = 0.0
    sample_s: float = 0.0

    def seconds(self, samples: float) -> float:
        """For a batch of so many samples; nothing for none."""
        return self.fixed_s + self.sample_s * samples if samples > 0 else 0.0

    @staticmethod
    def through(few: tuple[int, float], many: tuple[int, float] | None = None) -> "Rate":
        """The rate that measurements of (samples, seconds) agree with; of one, in proportion."""
        if many is None or many[0] == few[0]:
            return Rate(sample_s=few[1] / few[0])
        slope = max((many[1] - few[1]) / (many[0] - few[0]), 0.0)
        fixed = few[1] - slope * few[0]
        return Rate(fixed_s=fixed, sample_s=slope) if fixed > 0 else Rate.through(many)


@functools.cache
def mean_front(count: int, num_objectives: int) -> float:
    """Mean size of the Pareto front of random points whose objectives are independent.

    H_n = 1 + 1/2 + ... + 1/n for two objectives (Bentley et al., 1978).
    """
    if num_objectives < 2 or count < 2:
        return float(min(count, 1))
    return sum(mean_front(k, num_objectives - 1) / k for k in range(1, count + 1))


def front_size(case: Case, count: int, num_objectives: int) -> float:
    """How many of so many trials are on the front: one, as of random points, or all."""
    if case is Case.ABOUT:
        return mean_front(count, num_objectives)
    return case.between(min(count, 1), count)


def go_on(case: Case, count: int, factor: int) -> float:
    """Of the trials that come to a look of `pipeline.search.halving`, those that train on.

    The i-th to come does if it is among the best ceil(i / factor) so far, or on the front. At
    least the first does; about: where ranks are random; at most all.
    """
    if case is not Case.ABOUT:
        return case.between(min(count, 1), count)
    shares = (max(math.ceil(i / factor), mean_front(i, 2)) / i for i in range(1, count + 1))
    return sum(min(share, 1.0) for share in shares)


def wall_clock(case: Case, work_s: float, longest_s: float, slots: float) -> float:
    """Wall time of work that `slots` share, of which no piece is longer than `longest_s`.

    From the best packing to the worst that leaves no slot idle while work waits (Graham, 1969).
    """
    best = max(work_s / slots, longest_s)
    return case.between(best, work_s / slots + longest_s * (1.0 - 1.0 / slots))


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A row of a plan."""

    stage: str
    """Nothing of the next stage begins before all of this one has ended."""
    name: str
    count: float
    """Networks."""
    each: str = ""
    """What one of them takes, in words."""
    work_s: float = 0.0
    """CPU- or GPU-seconds of all of them."""
    longest_s: float = 0.0
    """Seconds of the longest piece that cannot be divided."""
    bytes: float = 0.0
    """What it leaves on the disk."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep takes in one case."""

    case: Case
    phases: list[Phase]
    slots: float
    """CPUs or GPUs of this machine."""

    @property
    def work_s(self) -> float:
        """CPU- or GPU-seconds in all."""
        return sum(phase.work_s for phase in self.phases)

    @property
    def bytes(self) -> float:
        """On the disk, in all."""
        return sum(phase.bytes for phase in self.phases)

    def wall_s(self, times: float = 1.0) -> float:
        """Wall time on so many times the machine."""
        stages: dict[str, list[Phase]] = {}
        for phase in self.phases:
            stages.setdefault(phase.stage, []).append(phase)
        slots, wall = max(times * self.slots, 1.0), 0.0
        for rows in stages.values():
            work, longest = sum(row.work_s for row in rows), max(row.longest_s for row in rows)
            wall += wall_clock(self.case, work, longest, slots)
        return wall
