"""Which images a network was judged on, and whether those of two are the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.files import StorePath
from reports import store
from reports.parameters import section
from reports.single import Attacks, Single, attacks_of, epsilon_of, labels_of
from reports.study import Study
from reports.unions import Suite

_FEW = 20
"""Labels below which their agreement says nothing."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set with its splits."""

    PLACES: ClassVar[frozenset[str]] = frozenset({"root", "download"})
    """Settings that say where it lies, not what it is."""
    identity: str
    note: str
    by_labels: str = ""
    """The study whose data it was taken for, by the labels of the images alone."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How a study judged on one split."""

    data: Data
    epsilon: float | None
    attacks: Attacks | None
    """None where the study did not write down the versions: then each network's rows say them."""
    labels: tuple[int, ...]


class KnownData:
    """The data of studies, by which those of single networks are recognised."""

    def __init__(self, root: StorePath, studies: Sequence[Study]) -> None:
        self._root, self._studies = root, tuple(studies)
        self._judged: dict[tuple[str, str], Judgement | None] = {}
        self._others: list[tuple[Data, str, tuple[int, ...]]] = []

    def judgement(self, study: Study, split: str) -> Judgement | None:
        """How the study judged on a split; None where nothing is complete there."""
        key = (study.name, split)
        if key not in self._judged:
            self._judged[key] = self._looked_up(study, split)
        return self._judged[key]

    def attacks(self, fingerprint: str, split: str, suite: Suite) -> Attacks:
        """Members and versions as a network's own rows have them."""
        return attacks_of(store.read_verdicts(self._root, fingerprint, split), suite)

    def of_single(self, single: Single, split: str, labels: tuple[int, ...]) -> Data:
        """The data of a single network: a study's, or such as no study here has."""
        for study in self._studies:
            if any(trial.row.fingerprint == single.fingerprint for trial in study.trials):
                return _data_of(study)
        for study in self._studies:
            judgement = self.judgement(study, split)
            if judgement and _agree(labels, judgement.labels) and _may_be(study, single):
                data = judgement.data
                return Data(identity=data.identity, note=data.note, by_labels=study.name)
        for data, on, others in self._others:
            if on == split and _agree(labels, others):
                return data
        named = section(single.config, "data").get("dataset")
        note = str(named or f"data of {single.label}")
        data = Data(identity=f"{note} {single.fingerprint}", note=note)
        self._others.append((data, split, labels))
        return data

    def _looked_up(self, study: Study, split: str) -> Judgement | None:
        suite = study.suites[split]
        judged = next((t for t in study.trials if t.complete and t.point(split)), None)
        if judged is None:
            return None
        rows = store.read_rows(self._root, judged.row.fingerprint, split)
        wanted = attacks_of(rows, suite)
        written = all(name in suite.hashes for name, _ in wanted)
        epsilon = epsilon_of(rows, wanted)
        told = study.facts.get("epsilon")
        if epsilon is None and isinstance(told, int | float):
            epsilon = round(float(told), 6)
        result = judged.splits[split]
        assert result is not None
        return Judgement(
            data=_data_of(study),
            epsilon=epsilon,
            attacks=wanted if written else None,
            labels=labels_of(rows, result.expected),
        )


def _data_of(study: Study) -> Data:
    facts = study.facts
    note = str(facts.get("data_note") or f"data of {study.name}")
    sizes = [facts.get(f"num_{split}") for split in ("train", "validation", "test")]
    identity = facts.get("data_hash")
    if not identity:
        # Without a hash, a note and all sizes must do; without those, nothing is alike.
        told = facts.get("data_note") and None not in sizes
        identity = f"{note} {sizes}" if told else f"not recorded in {study.name}"
    return Data(identity=str(identity), note=note)


def _agree(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    shared = min(len(first), len(second))
    return shared >= _FEW and first[:shared] == second[:shared]


def _may_be(study: Study, single: Single) -> bool:
    """Whether a network of this project was trained on the study's data; another may have been."""
    own = _description(single.config)
    return own is None or any(_description(t.row.config) == own for t in study.trials)


def _description(config: dict[str, Any]) -> dict[str, Any] | None:
    data = config.get("data")
    if not isinstance(data, dict) or not data:
        return None
    return {key: value for key, value in data.items() if key not in Data.PLACES}
