"""From verdict rows to accuracies: a sample is robust if it survives every listed member."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from reports.statistics import Outcomes, wilson_interval

CLEAN = "clean"
NO_ORACLE = "none"
"""Oracle of attacks that follow no gradient; their members bear the attack's name alone."""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """A fraction of samples with its 95 % Wilson interval."""

    successes: int
    total: int

    @property
    def value(self) -> float:
        """Fraction in [0, 1]."""
        return self.successes / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval, fractions."""
        return wilson_interval(self.successes, self.total)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """An ensemble of attacks as the sweep recorded it; the unattacked row is always a member."""

    name: str
    members: tuple[str, ...]
    """Attacked members, `attack+oracle`, in the suite's order."""
    num_samples: int | None
    """Samples that every member must have judged; None where nothing was recorded."""
    survivors_only: bool = False
    """Each member attacked what those before it left, so its column is what is left after it."""
    hashes: dict[str, str] = field(default_factory=dict)
    """Attack hash by member, where recorded: rows of another version do not count."""
    without: dict[str, "Suite"] = field(default_factory=dict)
    """The suite for networks whose own gradients it transfers to others, by fingerprint."""

    def of(self, fingerprint: str) -> "Suite":
        """What this network was attacked by: never by transfer from itself."""
        return self.without.get(fingerprint, self)


def suite_from(facts: dict[str, Any] | None, split_size: int | None) -> Suite:
    """The suite described in a sweep's facts, limited to the split's size."""
    facts = facts or {}
    own = facts.get("without") or {}
    listed = [_short(str(member)) for member in facts.get("members") or []]
    sizes = [size for size in (facts.get("num_samples"), split_size) if size is not None]
    return Suite(
        name=str(facts.get("name") or "not recorded"),
        members=tuple(dict.fromkeys(member for member in listed if member != CLEAN)),
        num_samples=min(sizes) if sizes else None,
        survivors_only=facts.get("order") == "survivors",
        hashes={_short(name): str(code) for name, code in (facts.get("hashes") or {}).items()},
        without={
            name: suite_from({**facts, **members, "without": {}}, split_size)
            for name, members in own.items()
        },
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitResult:
    """What the stored verdicts say about one network on one split under one suite."""

    expected: int
    """Samples that a complete member has."""
    outcomes: pd.DataFrame
    """True where the sample survives; rows are samples, columns the complete members."""
    gaps: tuple[str, ...]
    """One line for each member without a full set of verdicts."""
    forward: float = np.nan
    """Forward passes a sample that the suite took; NaN where not stored or incomplete."""
    backward: float = np.nan
    """Backward passes a sample."""

    @property
    def clean(self) -> Accuracy | None:
        """Accuracy on unattacked images; None where incomplete."""
        return self.member(CLEAN)

    @property
    def robust(self) -> Accuracy | None:
        """Accuracy under the union of all members; None where any is incomplete."""
        survivors = self.survivors
        return None if survivors is None else _accuracy(survivors)

    @property
    def survivors(self) -> Outcomes | None:
        """One entry per sample: survives every member; None where any is incomplete."""
        if self.gaps or self.outcomes.empty:
            return None
        return np.asarray(self.outcomes.to_numpy(dtype=bool).all(axis=1), dtype=bool)

    @property
    def correct(self) -> Outcomes | None:
        """One entry per sample: classified correctly without attack; None where incomplete."""
        return self._column(CLEAN)

    def member(self, name: str) -> Accuracy | None:
        """Share of samples right without attack and under this member; None where incomplete."""
        survives, correct = self._column(name), self.correct
        if survives is None:
            return None
        return _accuracy(survives if correct is None else survives & correct)

    def broken_only_by(self, name: str) -> int | None:
        """Samples that survive every member but this one."""
        survives = self._column(name)
        if survives is None or self.gaps:
            return None
        others = self.outcomes.drop(columns=[name]).to_numpy(dtype=bool).all(axis=1)
        return int((others & ~survives).sum())

    def _column(self, name: str) -> Outcomes | None:
        if name not in self.outcomes or self.outcomes.empty:
            return None
        return self.outcomes[name].to_numpy(dtype=bool)


def judge(rows: pd.DataFrame, suite: Suite) -> SplitResult | None:
    """Union of verdict rows over a suite's members; None where no verdict is stored.

    Restarts of a member count together: the sample must survive all of them.
    """
    if rows.empty:
        return None
    attacked = rows["attack"] != CLEAN
    followed = rows["oracle"] != NO_ORACLE
    member = rows["attack"].where(~followed, rows["attack"] + "+" + rows["oracle"])
    rows = rows.assign(member=member)
    expected = suite.num_samples
    if expected is None:
        expected = int(rows.loc[~attacked, "sample"].nunique())
    if expected == 0:
        return None
    wanted = [CLEAN, *suite.members]
    rows = rows[rows["member"].isin(wanted) & rows["sample"].between(0, expected - 1)]
    rows, gaps = _of_one_version(rows, suite)
    survives = rows.groupby(["member", "sample"])["robust"].all().unstack("sample")
    survives = survives.reindex(index=wanted, columns=range(expected)).T
    counts = survives.notna().sum()
    gaps |= {
        name: f"{name}: {counts[name]} of {expected} samples"
        for name in wanted
        if counts[name] < expected and name not in gaps
    }
    complete = [name for name in wanted if name not in gaps]
    counted = {} if gaps else _passes(rows, expected)
    return SplitResult(
        expected=expected,
        outcomes=survives[complete].astype(bool),
        gaps=tuple(gaps[name] for name in wanted if name in gaps),
        **counted,
    )


def _passes(rows: pd.DataFrame, expected: int) -> dict[str, float]:
    """Passes a sample, summed over members and restarts, where every row has them."""
    columns = {"forward": "num_forward", "backward": "num_backward"}
    return {
        kind: float(rows[column].sum(skipna=False)) / expected
        for kind, column in columns.items()
        if column in rows
    }


def _of_one_version(rows: pd.DataFrame, suite: Suite) -> tuple[pd.DataFrame, dict[str, str]]:
    """Keep rows of the recorded attack version; name members whose version is ambiguous."""
    known = rows["member"].map(suite.hashes)
    rows = rows[known.isna() | (known == rows["attack_hash"])]
    versions = rows.groupby("member")["attack_hash"].nunique()
    ambiguous = {
        str(name): f"{name}: {count} versions of this attack are stored, the sweep names none"
        for name, count in versions[versions > 1].items()
    }
    return rows, ambiguous


def _short(member: str) -> str:
    return member.removesuffix(f"+{NO_ORACLE}")


def _accuracy(survives: Outcomes) -> Accuracy:
    return Accuracy(successes=int(np.count_nonzero(survives)), total=len(survives))
