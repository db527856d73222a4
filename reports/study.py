"""A sweep as the report sees it: frozen, and every number of a page follows from it."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pipeline.records import Outcome, SplitName, TrialRow
from pipeline.stale import StoredBlock
from reports.evidence import Evidence
from reports.front_statistics import FrontStatistics, front_statistics
from reports.fronts import Point, best_above, knee, pareto_front
from reports.parameters import Parameter
from reports.statistics import Comparison, Outcomes, compare, holm
from reports.unions import Accuracy, SplitResult, Suite


@dataclass(frozen=True, kw_only=True)
class GradientStats:
    """Means over a split's samples; zero gradients leave NaN and are counted apart."""

    split: str
    total: int
    undefined: int
    """Samples whose gradient is zero: density, Hoyer sparsity and ratio do not exist there."""
    means: dict[str, float]
    ratio_median: float
    """Median of adversarial over random vulnerability (Theorem 4.3)."""
    within_bounds: float
    """Fraction of samples with 3 <= ratio <= 3 * l0, as Theorem 4.3 has it for small epsilon."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientPictures:
    """How the components of f_y's gradient are distributed, and some gradients themselves."""

    counts: np.ndarray[Any, Any]
    """Components of all samples by the bins of `pipeline.metrics.distribution.BIN_EDGES`."""
    num_samples: int
    images: np.ndarray[Any, Any]
    """The split's first images, (k, C, H, W) in [0, 1]; event frames, (k, T, 2, H, W)."""
    gradients: np.ndarray[Any, Any]
    """Of these images, same shape."""


@dataclass(frozen=True, kw_only=True)
class AuditCheck:
    """One question of the trust audit, and what was found."""

    name: str
    question: str
    status: str
    """PASS, WARN, FAIL or SKIPPED."""
    sentence: str


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """Whether a network's robust accuracy can be believed."""

    status: str
    split: str
    num_samples: int
    robust_accuracy: float
    """Union of all that the audit tried within the radius, a fraction."""
    checks: tuple[AuditCheck, ...]

    def named(self, status: str) -> list[str]:
        """Names of the checks that say this."""
        return [check.name for check in self.checks if check.status == status]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialResult:
    """One trial with everything that the store knows of its network."""

    row: TrialRow
    splits: dict[str, SplitResult | None]
    gradients: GradientStats | None
    epochs: pd.DataFrame
    audit: AuditResult | None = None
    pictures: GradientPictures | None = None
    evidence: dict[str, Evidence] = field(default_factory=dict)
    """By split: every stored attack, also those beyond the sweep's suites."""
    recheck: str = ""
    """What judging its stored breaks again found; empty where that was not done."""
    blocks: tuple[StoredBlock, ...] = ()
    """What is stored of the network, with what it was computed from and with."""
    stale: dict[str, dict[str, str]] = field(default_factory=dict)
    """By split and member of its suite: why the rows are stale; only those that are."""
    stale_gradients: tuple[str, ...] = ()
    """Why what was measured of its gradients is stale; empty where it is not."""

    def is_stale(self, split: str, member: str | None = None) -> bool:
        """Whether the rows of a member on a split are stale; without one, whether any are."""
        stale = self.stale.get(split, {})
        return bool(stale) if member is None else member in stale

    @property
    def believed(self) -> bool:
        """False where the trust audit failed: such a result is never called the best."""
        return self.audit is None or self.audit.status != "FAIL"

    @property
    def complete(self) -> bool:
        """Whether the trial was trained, attacked and told."""
        return self.row.outcome is Outcome.COMPLETE

    def clean(self, split: str) -> Accuracy | None:
        """Accuracy on the split's unattacked images."""
        result = self.splits.get(split)
        return result.clean if result else None

    def robust(self, split: str) -> Accuracy | None:
        """Accuracy on the split under the union of the suite's members."""
        result = self.splits.get(split)
        return result.robust if result else None

    def point(self, split: str) -> Point | None:
        """Clean and robust accuracy on the split, where both are complete."""
        clean, robust = self.clean(split), self.robust(split)
        return (clean.value, robust.value) if clean and robust else None


@dataclass(frozen=True, kw_only=True)
class BaselineComparison:
    """The chosen searched point against a baseline, on the same samples of one split."""

    baseline: TrialResult
    split: str
    robust: Comparison
    clean: Comparison
    adjusted_p: float
    """McNemar's p-value for robust accuracy, Holm-adjusted over the baselines."""

    chosen: TrialResult

    @property
    def distinguishable(self) -> bool:
        """Whether robust accuracy differs at the 5 % level."""
        return self.adjusted_p < 0.05

    @property
    def stale(self) -> bool:
        """Whether rows of either are stale."""
        return self.baseline.is_stale(self.split) or self.chosen.is_stale(self.split)


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """A sweep as stored: facts, trials and what follows from their per-sample rows."""

    name: str
    facts: dict[str, Any]
    suites: dict[str, Suite]
    """By split: the selection suite on validation, the report suite on test."""
    trials: tuple[TrialResult, ...]
    parameters: tuple[Parameter, ...]
    place: str = ""
    """The store it was read from."""
    stale_suites: dict[str, str] = field(default_factory=dict)
    """By split: how the suite that judged there has changed since; only those that have."""

    @property
    def baselines(self) -> tuple[TrialResult, ...]:
        """Trials that the search was given, not asked for."""
        return tuple(trial for trial in self.trials if trial.row.role == "baseline")

    @property
    def failures(self) -> tuple[TrialResult, ...]:
        """Trials that were told without a result: failed, diverged, or stopped early."""
        ended = (Outcome.FAILED, Outcome.DIVERGED, Outcome.PRUNED)
        return tuple(trial for trial in self.trials if trial.row.outcome in ended)

    @property
    def floor(self) -> float | None:
        """Lowest clean accuracy that the space accepts, a fraction; None without a constraint."""
        floor = (self.facts.get("constraints") or {}).get("clean_accuracy")
        return None if floor is None else float(floor)

    @cached_property
    def judged(self) -> tuple[TrialResult, ...]:
        """Complete trials with a full set of validation verdicts; replicates choose nothing."""
        return tuple(
            trial
            for trial in self.trials
            if trial.complete and trial.point(SplitName.VALIDATION) and not trial.row.replicate_of
        )

    def alike(self, trial: TrialResult) -> tuple[TrialResult, ...]:
        """The trial and its replicates: complete trainings that differ in the seed alone."""
        again = [t for t in self.trials if t.row.replicate_of == trial.row.label and t.complete]
        return (trial, *again)

    @cached_property
    def front(self) -> tuple[TrialResult, ...]:
        """Feasible trials that no other beats in both objectives, on validation."""
        trials, points = _points(t for t in self.judged if t.row.feasible)
        return tuple(trials[i] for i in pareto_front(points))

    @cached_property
    def knee(self) -> TrialResult | None:
        """The front's point of best trade-off: farthest above the line between its ends."""
        trials, points = _points(trial for trial in self.front if trial.believed)
        index = knee(points, range(len(points)))
        return None if index is None else trials[index]

    @cached_property
    def best(self) -> TrialResult | None:
        """The searched, feasible, believed trial of the highest robust accuracy above the floor."""
        searched = (
            trial
            for trial in self.judged
            if trial.row.role != "baseline" and trial.row.feasible and trial.believed
        )
        trials, points = _points(searched)
        index = best_above(points, self.floor)
        return None if index is None else trials[index]

    @cached_property
    def front_statistics(self) -> FrontStatistics | None:
        """How certain the front is; None where no feasible trial was judged."""
        trials = self._resampled
        clean = [outcomes(trial, SplitName.VALIDATION, attacked=False) for trial in trials]
        robust = [outcomes(trial, SplitName.VALIDATION, attacked=True) for trial in trials]
        return front_statistics(clean, robust)

    def front_probability(self, trial: TrialResult) -> float:
        """Probability that the trial lies on the front; NaN where it cannot, or was not judged."""
        found = self.front_statistics
        for rival, value in zip(self._resampled, found.probabilities if found else (), strict=True):
            if rival is trial:
                return value
        return np.nan

    @cached_property
    def _resampled(self) -> tuple[TrialResult, ...]:
        """Feasible judged trials that have as many samples as the largest."""
        sizes = [outcomes(t, SplitName.VALIDATION, attacked=False).size for t in self.judged]
        largest = max(sizes, default=0)
        sized = zip(self.judged, sizes, strict=True)
        return tuple(trial for trial, size in sized if trial.row.feasible and size == largest)

    @cached_property
    def reporting_split(self) -> str:
        """Test where the best trial, or without one a baseline, was judged; else validation."""
        candidates = [self.best] if self.best else [b for b in self.baselines if b.complete]
        tested = any(trial.point(SplitName.TEST) for trial in candidates)
        return SplitName.TEST if tested else SplitName.VALIDATION

    @cached_property
    def comparisons(self) -> tuple[BaselineComparison, ...]:
        """The best searched trial against every baseline judged on the reporting split."""
        if self.best is None:
            return ()
        split = self.reporting_split
        rivals = [b for b in self.baselines if b.complete and b.point(split)]
        robust = [_compared(self.best, rival, split, attacked=True) for rival in rivals]
        adjusted = holm([comparison.p_value for comparison in robust])
        return tuple(
            BaselineComparison(
                baseline=rival,
                chosen=self.best,
                split=split,
                robust=comparison,
                clean=_compared(self.best, rival, split, attacked=False),
                adjusted_p=p_value,
            )
            for rival, comparison, p_value in zip(rivals, robust, adjusted, strict=True)
        )

    @cached_property
    def disagreements(self) -> tuple[str, ...]:
        """Trials whose told objectives are not what the stored rows give."""
        found = []
        for trial in self.judged:
            point = trial.point(SplitName.VALIDATION) or (np.nan, np.nan)
            for objective, value in zip(("clean_accuracy", "robust_accuracy"), point, strict=True):
                told = trial.row.metrics.get(objective)
                if told is not None and abs(told - value) > 1e-6:
                    found.append(
                        f"{trial.row.label}: {objective} was told as {told:.4f}, "
                        f"the stored verdicts give {value:.4f}"
                    )
        return tuple(found)


def _points(trials: Any) -> tuple[list[TrialResult], list[Point]]:
    paired = [(trial, trial.point(SplitName.VALIDATION)) for trial in trials]
    return [trial for trial, _ in paired], [point for _, point in paired]


def _compared(first: TrialResult, second: TrialResult, split: str, *, attacked: bool) -> Comparison:
    return compare(*(outcomes(trial, split, attacked=attacked) for trial in (first, second)))


def outcomes(trial: TrialResult, split: str, *, attacked: bool) -> Outcomes:
    """Which samples of a judged split are classified correctly, clean or under attack."""
    result = trial.splits[split]
    assert result is not None
    outcome = result.survivors if attacked else result.correct
    assert outcome is not None
    return outcome
