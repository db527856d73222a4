"""What stands in the cells of the paper's tables: what was printed, and what we measured."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd

from pipeline.records import SplitName
from reports.evidence import Evidence
from reports.provenance import SUITE
from reports.spread import spread
from reports.statistics import wilson_interval
from reports.study import Study, TrialResult
from reports.unions import CLEAN, SplitResult

FILES = {
    "table1": "table1_sota_white_black_box.csv",
    "table2": "table2_cifar10_dvs.csv",
    "table3": "table3_ablation.csv",
    "table4": "table4_random_attack.csv",
    "table6": "table6_surrogate_width.csv",
    "table7": "table7_epoch_seconds.csv",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """An attack as a table has it: the members of ours whose union it is."""

    head: str
    attack: str = CLEAN
    """Name of the attack in the suite; `clean` for no attack."""
    printed: str = ""
    """Column of the paper's file; empty where the paper has none."""
    black: bool = False
    """By transfer from another network."""
    beside: bool = False
    """Under a threat model that the suite\'s union does not count."""
    oracles: Callable[[str], bool] = lambda oracle: True
    """Which of the attack's oracles belong to it."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A number of ours: a fraction, or seconds."""

    mean: float
    low: float
    high: float
    """95 % Wilson interval of one network, or mean plus and minus the deviation over seeds."""
    num_samples: int
    num_seeds: int = 1
    stale: tuple[str, ...] = ()
    """Why it is stale; empty where it is not."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table: ours, the paper's, and why one of them is missing."""

    ours: Value | None = None
    variant: Value | None = None
    """Ours with the epoch chosen by clean test accuracy, as the paper's code does."""
    printed: float | None = None
    """In the unit of `ours`."""
    comparable: bool = False
    """Whether ours is on the data and the network of the paper."""
    why: str = ""
    """Why there is no number of ours."""
    source: str = ""
    """Name of the sweep it comes from."""

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's; None where one is missing or they are unlike."""
        if self.ours is None or self.printed is None or not self.comparable:
            return None
        return self.ours.mean - self.printed


@cache
def printed(table: str) -> pd.DataFrame:
    """The paper's own numbers of a table, as its CSV file has them: accuracies in percent."""
    source = resources.files("reports").joinpath("paper", FILES[table])
    return pd.read_csv(StringIO(source.read_text(encoding="utf-8")))


def printed_fraction(row: "pd.Series[Any]", column: str) -> float | None:
    """A printed percentage as a fraction; None where the paper has no such column."""
    value = float(row[column]) if column else math.nan
    return round(value / 100, 8) if math.isfinite(value) else None


def survivors(result: SplitResult, column: Column) -> np.ndarray[Any, Any] | None:
    """One entry a sample: right without attack and under all members of the column."""
    chosen = _chosen(result, column)
    if not chosen or result.correct is None:
        return None
    return np.asarray(result.outcomes[[CLEAN, *chosen]].to_numpy(dtype=bool).all(axis=1))


def _beside(evidence: Evidence, result: SplitResult, column: Column) -> np.ndarray[Any, Any] | None:
    """Likewise of members that the suite's union does not count."""
    found = [attack for attack in evidence.attacks if _belongs(attack.member, column)]
    samples = list(result.outcomes.index)
    if not found or not all(attack.samples.issuperset(samples) for attack in found):
        return None
    robust = [attack.robust.loc[samples].to_numpy(dtype=bool) for attack in found]
    return np.asarray(np.logical_and.reduce(robust))


def _chosen(result: SplitResult, column: Column) -> list[str]:
    return [str(name) for name in result.outcomes.columns if _belongs(str(name), column)]


def _belongs(member: str, column: Column) -> bool:
    attack, _, rest = member.partition("+")
    oracle, _, source = rest.partition("@")
    return attack == column.attack and bool(source) == column.black and column.oracles(oracle)


def accuracy(study: Study, trial: TrialResult, column: Column) -> tuple[Value | None, str]:
    """Our accuracy in a column, over the seeds that were trained, and else why there is none."""
    fractions, sizes, why, stale = [], [], "", dict[str, None]()
    for network in study.alike(trial):
        result = network.splits.get(SplitName.TEST)
        if result is None:
            why = "not attacked on test images"
            continue
        found = survivors(result, column)
        if column.beside and SplitName.TEST in network.evidence:
            found = _beside(network.evidence[SplitName.TEST], result, column)
        absent = "not attacked this way" if not result.gaps else "incomplete; --resume"
        why = why or ("" if found is not None else absent)
        if found is not None:
            fractions.append(float(found.mean()))
            sizes.append(len(found))
            reasons = network.stale.get(SplitName.TEST, {})
            stale |= {
                reasons[name]: None
                for name in (CLEAN, SUITE, *_chosen(result, column))
                if name in reasons
            }
    over = spread(fractions)
    if over is None:
        return None, why
    size = sizes[0]
    if len(fractions) == 1:
        low, high = wilson_interval(round(fractions[0] * size), size)
    else:
        low, high = over.mean - over.deviation, over.mean + over.deviation
    value = Value(
        mean=over.mean,
        low=low,
        high=high,
        num_samples=size,
        num_seeds=len(fractions),
        stale=tuple(stale),
    )
    return value, ""


def epoch_seconds(trials: Sequence[TrialResult]) -> Value | None:
    """Median seconds of an epoch, and the fastest and slowest, over the networks' epochs."""
    found = [trial.epochs["epoch_s"] for trial in trials if "epoch_s" in trial.epochs]
    if not found:
        return None
    seconds = np.concatenate([values.to_numpy(dtype=float) for values in found])
    return Value(
        mean=float(np.median(seconds)),
        low=float(seconds.min()),
        high=float(seconds.max()),
        num_samples=len(seconds),
    )
