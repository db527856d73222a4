"""Loads studies and single networks, and groups what was judged alike."""

from collections.abc import Sequence

from pipeline.adapters.parquet_store import ParquetStore
from pipeline.files import StorePath
from pipeline.records import SplitName
from pipeline.stale import stored_blocks
from reports.compare_queries import ALONE, Compared, Entry, Group, Terms
from reports.known_data import KnownData
from reports.parameters import SPARSITY_WEIGHT, section, value_of
from reports.provenance import stale_members
from reports.queries import audit_of
from reports.single import Single, judged_sets
from reports.study import Study, TrialResult
from reports.unions import SplitResult


def load_comparison(
    root: StorePath, studies: Sequence[Study], singles: Sequence[Single]
) -> Compared:
    """Group the networks of studies and the single ones by how they were judged.

    Raises:
        ConfigError: A file of the store cannot be read.
    """
    known, groups = KnownData(root, studies), _Groups()
    for study in studies:
        for split in study.suites:
            _add_study(study, split, known, groups)
    recorded = [(split, suite) for study in studies for split, suite in study.suites.items()]
    by_labels: dict[str, str] = {}
    sets = []
    store = ParquetStore(root)
    blocks = {s.fingerprint: stored_blocks(store, s.fingerprint) for s in singles}
    for single, judged in judged_sets(root, singles, recorded):
        data = known.of_single(single, judged.split, judged.labels)
        if data.by_labels:
            by_labels[single.label] = data.by_labels
        terms = Terms(data.identity, judged.split, judged.epsilon, judged.attacks,
                      judged.result.expected)  # fmt: skip
        stale = stale_members(
            blocks[single.fingerprint], judged.split, dict(judged.attacks), judged.result.expected
        )
        sets.append((single.label, terms, judged.result, stale))
        entry = _of_single(root, single, judged.result, stale)
        if entry and not groups.has(terms, entry.fingerprint):
            groups.add(terms, data.note, judged.suite, entry)
    return Compared(
        studies=tuple(studies),
        singles=tuple(singles),
        groups=groups.sorted(),
        sets=tuple(sets),
        by_labels=by_labels,
        place=str(root),
        trials={
            single.label: f"{trial.row.label} of {study.name}"
            for single in singles
            for study in studies
            for trial in study.trials
            if trial.row.fingerprint == single.fingerprint
        },
    )


class _Groups:
    """Entries by terms, with what their data and suite are called."""

    def __init__(self) -> None:
        self._entries: dict[Terms, list[Entry]] = {}
        self._notes: dict[Terms, str] = {}
        self._suites: dict[frozenset[tuple[str, str]], str] = {}

    def add(self, terms: Terms, note: str, suite: str, entry: Entry) -> None:
        """Put an entry to those judged alike."""
        self._entries.setdefault(terms, []).append(entry)
        self._notes.setdefault(terms, note)
        if suite:
            self._suites.setdefault(terms.attacks, suite)

    def has(self, terms: Terms, fingerprint: str) -> bool:
        """Whether the network stands there already."""
        return any(entry.fingerprint == fingerprint for entry in self._entries.get(terms, ()))

    def sorted(self) -> tuple[Group, ...]:
        """Test before validation, then where most meets."""
        found = [
            Group(
                terms=terms,
                data_note=self._notes[terms],
                suite=self._suites.get(terms.attacks, ""),
                entries=tuple(entries),
            )
            for terms, entries in self._entries.items()
        ]
        test = SplitName.TEST
        found.sort(key=lambda g: (g.terms.split != test, -len(g.sources), -len(g.entries)))
        return tuple(found)


def _add_study(study: Study, split: str, known: KnownData, groups: _Groups) -> None:
    judgement, suite = known.judgement(study, split), study.suites[split]
    if judgement is None:
        return
    for trial in study.trials:
        result = trial.splits.get(split)
        stale = trial.stale.get(split, {})
        entry = _of_trial(study, trial, result, stale) if result and trial.complete else None
        if entry is None:
            continue
        attacks = judgement.attacks or known.attacks(entry.fingerprint, split, suite)
        data, size = judgement.data, len(entry.correct)
        terms = Terms(data.identity, split, judgement.epsilon, attacks, size)
        groups.add(terms, data.note, suite.name, entry)


def _of_trial(
    study: Study, trial: TrialResult, result: SplitResult, stale: dict[str, str]
) -> Entry | None:
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
        stale=stale,
    )


def _of_single(
    root: StorePath, single: Single, result: SplitResult, stale: dict[str, str]
) -> Entry | None:
    correct, survivors = result.correct, result.survivors
    if correct is None or survivors is None:
        return None
    strategy = section(single.config, "strategy")
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
        chosen=True,
        stale=stale,
    )
