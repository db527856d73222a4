"""Every attack whose verdicts are stored for a network, also those of no suite of the sweep.

Radii beyond the evaluation's, widths of a surrogate, and what `pipeline.evaluate` added later are
found here; the union that a sweep is judged by is that of `reports/unions.py`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from reports.statistics import Outcomes
from reports.unions import CLEAN, NO_ORACLE, Accuracy, Suite


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredAttack:
    """One attack through one oracle, in one version, against one network."""

    attack: str
    oracle: str
    attack_hash: str
    epsilon: float
    """Radius in the threat model's unit, or flips; NaN where it was not stored."""
    threat: str
    """What the attacker may do (`pipeline.attacks.threat`); empty where it was not stored."""
    samples: frozenset[int]
    robust: pd.Series
    """By sample: still classified correctly after all restarts, and by all members before."""
    broken: pd.Series
    """By sample: attacked by this member, and no longer classified correctly."""
    chained: bool
    """Attacked only what the members before it had left: its accuracy is not its own."""

    @property
    def member(self) -> str:
        """Speaking name, as in a suite."""
        return self.attack if self.oracle == NO_ORACLE else f"{self.attack}+{self.oracle}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What is stored of a network on a split; read when first asked for, as it may be much."""

    read: Callable[[], pd.DataFrame]
    """Gives the verdict rows."""
    suite: Suite

    @cached_property
    def attacks(self) -> tuple[StoredAttack, ...]:
        """Stored attacks by name, one version each, the unattacked rows among them.

        Of several versions the suite's own goes first, then one that attacked every sample, then
        the one with the most samples; where that leaves two, none is taken.
        """
        rows = self._rows
        if rows.empty:
            return ()
        groups = rows.groupby(["attack", "oracle"], sort=False)
        found = [self._chosen(group, _correct(rows)) for _, group in groups]
        return tuple(attack for attack in found if attack is not None)

    @cached_property
    def of_suite(self) -> tuple[StoredAttack, ...]:
        """The suite's own versions of its attacks, those that its union does not count, too."""
        rows = self._rows
        versions = {} if rows.empty else dict(list(rows.groupby("attack_hash", sort=False)))
        own = [code for code in self.suite.hashes.values() if code in versions]
        return tuple(_stored(versions[code], _correct(rows)) for code in own)

    @cached_property
    def _rows(self) -> pd.DataFrame:
        return self.read()

    @property
    def clean(self) -> StoredAttack | None:
        """The unattacked rows."""
        return next((found for found in self.attacks if found.attack == CLEAN), None)

    def _chosen(self, rows: pd.DataFrame, correct: pd.Series) -> StoredAttack | None:
        versions = [
            _stored(version, correct) for _, version in rows.groupby("attack_hash", sort=False)
        ]

        def rank(version: StoredAttack) -> tuple[bool, bool, int]:
            named = self.suite.hashes.get(version.member) == version.attack_hash
            return not version.chained, named, len(version.samples)

        best = max(versions, key=rank)
        rivals = [version for version in versions if rank(version) == rank(best)]
        return best if len(rivals) == 1 else None


def union(attacks: Iterable[StoredAttack], samples: list[int]) -> Accuracy:
    """Share of the samples that survive all the attacks, of which each has judged them all."""
    alive: Outcomes = np.ones(len(samples), dtype=bool)
    for attack in attacks:
        alive &= attack.robust.loc[samples].to_numpy(dtype=bool)
    return Accuracy(successes=int(alive.sum()), total=len(samples))


def common_samples(attacks: Iterable[StoredAttack]) -> list[int]:
    """Samples that every attack has judged, sorted."""
    sets = [attack.samples for attack in attacks]
    return sorted(frozenset.intersection(*sets)) if sets else []


def _correct(rows: pd.DataFrame) -> pd.Series:
    """By sample: classified correctly without attack."""
    clean = rows[rows["attack"] == CLEAN]
    return clean.groupby("sample")["robust"].all()


def _stored(rows: pd.DataFrame, correct: pd.Series) -> StoredAttack:
    first = rows.iloc[0]
    robust = rows.groupby("sample")["robust"].all()
    attacked = pd.Series(data=True, index=robust.index)
    if "attacked" in rows:
        attacked = rows.assign(attacked=rows["attacked"].fillna(value=True).astype(bool)).groupby(
            "sample"
        )["attacked"].any()  # fmt: skip
    right = correct.reindex(robust.index, fill_value=False).astype(bool)
    unattacked = str(first["attack"]) == CLEAN
    radii = list(rows["epsilon"].dropna().unique()) if "epsilon" in rows else []
    return StoredAttack(
        attack=str(first["attack"]),
        oracle=str(first["oracle"]),
        attack_hash=str(first["attack_hash"]),
        epsilon=float(radii[0]) if len(radii) == 1 else np.nan,
        threat=str(first.get("threat") or ""),
        samples=frozenset(int(sample) for sample in robust.index),
        robust=robust if unattacked else robust & right,
        broken=right & attacked & ~robust,
        chained=not unattacked and bool((right & ~attacked).any()),
    )
