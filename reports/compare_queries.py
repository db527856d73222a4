"""Networks grouped by how they were judged; only within a group are they compared."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from reports.fronts import pareto_front
from reports.known_data import Data
from reports.parameters import section
from reports.single import Single
from reports.statistics import Comparison, Outcomes, compare, holm
from reports.study import AuditResult, Study
from reports.unions import Accuracy, SplitResult

ALONE = "single network"
"""What stands for the study of a network that belongs to none."""
LAST = "last"


@dataclass(frozen=True)
class Terms:
    """How a network was judged; numbers are compared only where all of this is equal."""

    data: str
    split: str
    epsilon: float | None
    """Radius of the attacks, pixel units; None where it is not recorded."""
    attacks: frozenset[tuple[str, str]]
    """Members of the suite with their hashes, the unattacked one included."""
    num_samples: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One network under one set of terms."""

    source: str
    """The study's name; a single network's label."""
    label: str
    study: str
    """The study's name, or `ALONE`."""
    fingerprint: str
    strategy: str
    method: str
    sparsity_weight: Any
    config: dict[str, Any]
    correct: Outcomes
    survivors: Outcomes
    audit: AuditResult | None
    training_s: float | None
    feasible: bool = True
    chosen: bool = False
    """Whether it is the setting that its study chose on validation images."""
    stale: dict[str, str] = field(default_factory=dict)
    """Why the rows of members are stale, by member; only those that are."""

    @property
    def believed(self) -> bool:
        """False where the trust audit failed."""
        return self.audit is None or self.audit.status != "FAIL"

    @property
    def selection(self) -> str:
        """Which epoch's network it is: `last`, `best_test` or `best_validation`."""
        return str(section(self.config, "training").get("selection") or LAST)

    @cached_property
    def clean(self) -> Accuracy:
        """Share of unattacked images that are classified correctly."""
        return Accuracy(successes=int(self.correct.sum()), total=len(self.correct))

    @cached_property
    def robust(self) -> Accuracy:
        """Share of images that survive every attack of the terms."""
        return Accuracy(successes=int(self.survivors.sum()), total=len(self.survivors))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two networks on the same images, first minus second."""

    first: Entry
    second: Entry
    robust: Comparison
    clean: Comparison
    adjusted_p: float
    """McNemar's p-value for robust accuracy, Holm-adjusted within its family."""

    @property
    def distinguishable(self) -> bool:
        """Whether robust accuracy differs at the 5 % level."""
        return self.adjusted_p < 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Networks judged alike."""

    terms: Terms
    data_note: str
    suite: str
    """The suite's name; empty where none is recorded."""
    entries: tuple[Entry, ...]

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Studies and single networks in it, in the order given."""
        return tuple(dict.fromkeys(entry.source for entry in self.entries))

    @cached_property
    def leader(self) -> Entry | None:
        """The highest robust accuracy of those that may be ranked; ties go to clean accuracy."""
        allowed = [entry for entry in self.entries if self.ranked(entry)]
        return max(allowed, key=lambda e: (e.robust.value, e.clean.value), default=None)

    def ranked(self, entry: Entry) -> bool:
        """Whether it may be called the highest: it is believed, and no test image chose it."""
        return entry.believed and entry.selection != "best_test"

    @cached_property
    def behind(self) -> tuple[Pair, ...]:
        """Every other network against the highest, once each."""
        if self.leader is None:
            return ()
        others = {e.fingerprint: e for e in reversed(self.entries)}
        others.pop(self.leader.fingerprint)
        return paired([(other, self.leader) for other in reversed(others.values())])

    def same(self, entry: Entry) -> tuple[Entry, ...]:
        """Where this very network stands in the group: in several studies, perhaps."""
        return tuple(e for e in self.entries if e.fingerprint == entry.fingerprint)

    @cached_property
    def choices(self) -> tuple[Pair, ...]:
        """What the studies chose, and the single networks, pair by pair."""
        once = {e.fingerprint: e for e in reversed(self.entries) if e.chosen}
        chosen = list(reversed(once.values()))
        return paired(
            [
                (first, second)
                for i, first in enumerate(chosen)
                for second in chosen[i + 1 :]
                if first.fingerprint != second.fingerprint
            ]
        )

    @cached_property
    def variants(self) -> tuple[Pair, ...]:
        """Networks that differ in the choice of the epoch alone, against that of the last one."""
        by_setting: dict[str, dict[str, Entry]] = {}
        for entry in self.entries:
            if entry.config:
                found = by_setting.setdefault(_without_selection(entry.config), {})
                found.setdefault(entry.selection, entry)
        return paired(
            [
                (entry, found[LAST])
                for found in by_setting.values()
                for selection, entry in found.items()
                if LAST in found and selection != LAST
            ]
        )

    def front(self, source: str) -> tuple[Entry, ...]:
        """Feasible networks of a source that no other of it beats in both accuracies."""
        own = [entry for entry in self.entries if entry.source == source and entry.feasible]
        return tuple(own[i] for i in pareto_front([(e.clean.value, e.robust.value) for e in own]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """Everything on a comparison page."""

    studies: tuple[Study, ...]
    singles: tuple[Single, ...]
    groups: tuple[Group, ...]
    sets: tuple[tuple[str, Terms, SplitResult, dict[str, str]], ...] = ()
    """Every complete set of the single networks' verdicts, by their labels, and what of it is
    stale."""
    by_labels: dict[str, str] = field(default_factory=dict)
    """Study by single network: whose data it was judged on, as its images' labels say."""
    trials: dict[str, str] = field(default_factory=dict)
    """By single network: which trial of which study it is."""
    place: str = ""
    """The store it was read from."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the studies and labels of the single networks, in the order given."""
        return (*(s.name for s in self.studies), *(s.label for s in self.singles))

    @property
    def empty(self) -> tuple[str, ...]:
        """Those without any complete set of verdicts."""
        judged = {source for group in self.groups for source in group.sources}
        judged |= set(self.trials)
        return tuple(source for source in self.sources if source not in judged)


def paired(pairs: Sequence[tuple[Entry, Entry]]) -> tuple[Pair, ...]:
    """Comparisons on the same images, adjusted as one family."""
    robust = [compare(first.survivors, second.survivors) for first, second in pairs]
    adjusted = holm([comparison.p_value for comparison in robust])
    return tuple(
        Pair(
            first=first,
            second=second,
            robust=comparison,
            clean=compare(first.correct, second.correct),
            adjusted_p=p_value,
        )
        for (first, second), comparison, p_value in zip(pairs, robust, adjusted, strict=True)
    )


def _without_selection(config: dict[str, Any]) -> str:
    training = {k: v for k, v in section(config, "training").items() if k != "selection"}
    data = {k: v for k, v in section(config, "data").items() if k not in Data.PLACES}
    return repr(_sorted(config | {"training": training, "data": data}))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, _sorted(value[key])) for key in sorted(value)]
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value
