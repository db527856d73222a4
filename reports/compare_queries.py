"""Loads studies and single networks, and groups what was judged alike: only that is compared."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipeline.files import StorePath
from pipeline.records import SplitName
from reports.fronts import pareto_front
from reports.known_data import Data, KnownData
from reports.parameters import SPARSITY_WEIGHT, value_of
from reports.queries import AuditResult, Study, TrialResult, audit_of
from reports.single import Single, judged_sets
from reports.statistics import Comparison, Outcomes, compare, holm
from reports.unions import Accuracy, SplitResult, Suite

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
    result: SplitResult | None = None
    """Verdicts by member; kept of single networks alone."""
    feasible: bool = True
    chosen: bool = False
    """Whether it is the setting that its study chose on validation images."""

    @property
    def believed(self) -> bool:
        """False where the trust audit failed."""
        return self.audit is None or self.audit.status != "FAIL"

    @property
    def selection(self) -> str:
        """Which epoch's network it is: `last`, `best_test` or `best_validation`."""
        training = self.config.get("training")
        return str(training.get("selection") or LAST) if isinstance(training, dict) else LAST

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
    by_labels: dict[str, str] = field(default_factory=dict)
    """Study by single network: whose data it was judged on, as its images' labels say."""
    trials: dict[str, str] = field(default_factory=dict)
    """By single network: which trial of which study it is."""

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


def load_comparison(
    root: StorePath, studies: Sequence[Study], singles: Sequence[Single]
) -> Compared:
    """Group the networks of studies and the single ones by how they were judged.

    Raises:
        ConfigError: A file of the store cannot be read.
    """
    known = KnownData(root, studies)
    groups: dict[Terms, list[Entry]] = {}
    suites: dict[Terms, tuple[str, str]] = {}
    recorded: list[tuple[str, Suite]] = []
    for study in studies:
        for split, suite in study.suites.items():
            recorded.append((split, suite))
            judgement = known.judgement(study, split)
            for trial in study.trials:
                result = trial.splits.get(split)
                if judgement is None or result is None or not trial.complete:
                    continue
                attacks = judgement.attacks or known.attacks(trial.row.fingerprint, split, suite)
                terms = Terms(judgement.data.identity, split, judgement.epsilon, attacks,
                              result.expected)  # fmt: skip
                entry = _of_trial(study, trial, result)
                if entry is not None:
                    groups.setdefault(terms, []).append(entry)
                    suites.setdefault(terms, (judgement.data.note, suite.name))
    by_labels: dict[str, str] = {}
    sets = judged_sets(root, singles, recorded)
    for single, judged in sets:
        data = known.of_single(single, judged.split, judged.labels)
        if data.by_labels:
            by_labels[single.label] = data.by_labels
        terms = Terms(data.identity, judged.split, judged.epsilon, judged.attacks,
                      judged.result.expected)  # fmt: skip
        entry = _of_single(root, single, judged.result)
        present = groups.setdefault(terms, [])
        suites.setdefault(terms, (data.note, judged.suite))
        if entry and entry.fingerprint not in {e.fingerprint for e in present}:
            present.append(entry)
    names = {terms.attacks: suite for terms, (_, suite) in suites.items() if suite}
    found = [
        Group(terms=terms, data_note=suites[terms][0], suite=names.get(terms.attacks, ""),
              entries=tuple(entries))
        for terms, entries in groups.items()
        if entries
    ]  # fmt: skip
    # Test before validation, then where most meets.
    found.sort(key=lambda g: (g.terms.split != SplitName.TEST, -len(g.sources), -len(g.entries)))
    return Compared(
        studies=tuple(studies),
        singles=tuple(singles),
        groups=tuple(found),
        by_labels=by_labels,
        trials={
            single.label: f"{trial.row.label} of {study.name}"
            for single in singles
            for study in studies
            for trial in study.trials
            if trial.row.fingerprint == single.fingerprint
        },
    )


def _of_trial(study: Study, trial: TrialResult, result: SplitResult) -> Entry | None:
    row, correct, survivors = trial.row, result.correct, result.survivors
    if correct is None or survivors is None:
        return None
    return Entry(
        source=study.name,
        label=row.label,
        study=study.name,
        fingerprint=row.fingerprint,
        strategy=row.strategy,
        method=row.method,
        sparsity_weight=value_of(row, SPARSITY_WEIGHT),
        config=row.config,
        correct=correct,
        survivors=survivors,
        audit=trial.audit,
        training_s=row.training_s,
        feasible=row.feasible,
        chosen=trial is study.best,
    )


def _of_single(root: StorePath, single: Single, result: SplitResult) -> Entry | None:
    correct, survivors = result.correct, result.survivors
    if correct is None or survivors is None:
        return None
    strategy = single.config.get("strategy")
    strategy = strategy if isinstance(strategy, dict) else {}
    method = str(strategy.get("method") or "")
    return Entry(
        source=single.label,
        label=single.label,
        study=ALONE,
        fingerprint=single.fingerprint,
        strategy=method or "not recorded",
        method=method,
        sparsity_weight=strategy.get("sparsity_weight"),
        config=single.config,
        correct=correct,
        survivors=survivors,
        audit=audit_of(root, single.fingerprint),
        training_s=None,
        result=result,
        chosen=True,
    )


def _without_selection(config: dict[str, Any]) -> str:
    training = {k: v for k, v in config.get("training", {}).items() if k != "selection"}
    data = {k: v for k, v in (config.get("data") or {}).items() if k not in Data.PLACES}
    return repr(_sorted(config | {"training": training, "data": data}))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, _sorted(value[key])) for key in sorted(value)]
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value
