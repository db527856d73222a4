"""Loads a sweep into a frozen `Study`: every number that the report shows comes from here."""

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from pipeline.files import StorePath
from pipeline.records import Outcome, SplitName, TrialRow
from reports import store
from reports.evidence import Evidence
from reports.front_statistics import FrontStatistics, front_statistics
from reports.fronts import Point, best_above, knee, pareto_front
from reports.parameters import Parameter, parameters_of, value_of
from reports.statistics import Comparison, Outcomes, compare, holm
from reports.unions import Accuracy, SplitResult, Suite, judge, suite_from

GRADIENTS = (
    "gradient_l1",
    "gradient_l2",
    "gradient_l0",
    "gradient_density",
    "hoyer",
    "margin_gradient_l1",
    "margin_gradient_l2",
)
RATIO = "vulnerability_ratio"


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
    """Shape (k, C, H, W), in [0, 1]: the split's first images."""
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

    @property
    def distinguishable(self) -> bool:
        """Whether robust accuracy differs at the 5 % level."""
        return self.adjusted_p < 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """A sweep as stored: facts, trials and what follows from their per-sample rows."""

    name: str
    facts: dict[str, Any]
    suites: dict[str, Suite]
    """By split: the selection suite on validation, the report suite on test."""
    trials: tuple[TrialResult, ...]
    parameters: tuple[Parameter, ...]

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
        clean = [_outcome(trial, SplitName.VALIDATION, attacked=False) for trial in trials]
        robust = [_outcome(trial, SplitName.VALIDATION, attacked=True) for trial in trials]
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
        sizes = [_outcome(t, SplitName.VALIDATION, attacked=False).size for t in self.judged]
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


def load_study(root: StorePath, name: str) -> Study:
    """Read a sweep and the rows of its trials from a store.

    Raises:
        ConfigError: If the sweep is absent or one of its files cannot be read.
    """
    facts = store.read_sweep(root, name)
    suites: dict[str, Suite] = {
        SplitName.VALIDATION: suite_from(facts.get("selection_suite"), facts.get("num_validation")),
        SplitName.TEST: suite_from(facts.get("report_suite"), facts.get("num_test")),
    }
    return Study(
        name=name,
        facts=facts,
        suites=suites,
        trials=tuple(_result(root, row, suites) for row in store.read_trials(root, name)),
        parameters=parameters_of(facts),
    )


def trial_frame(study: Study) -> pd.DataFrame:
    """One row per trial: parameters, accuracies with intervals and gradients; fractions."""
    return pd.DataFrame([_flat(study, trial) for trial in study.trials])


def _result(root: StorePath, row: TrialRow, suites: dict[str, Suite]) -> TrialResult:
    return TrialResult(
        row=row,
        splits={
            split: judge(
                store.read_verdicts(root, row.fingerprint, split), suite.of(row.fingerprint)
            )
            for split, suite in suites.items()
        },
        gradients=_gradients(root, row.fingerprint),
        epochs=store.read_epochs(root, row.fingerprint),
        audit=audit_of(root, row.fingerprint),
        pictures=_pictures(root, row.fingerprint),
        evidence={
            split: Evidence(
                read=partial(store.read_verdicts, root, row.fingerprint, split),
                suite=suite.of(row.fingerprint),
            )
            for split, suite in suites.items()
        },
    )


def _pictures(root: StorePath, fingerprint: str) -> GradientPictures | None:
    rows, shape = store.read_gradients(root, fingerprint, SplitName.TEST)
    if rows.empty:
        return None
    rows = rows.drop_duplicates("sample", keep="last").sort_values("sample")
    kept = rows[rows["image"].map(len) > 0]
    images, gradients = (
        np.array(kept[name].to_list(), dtype=float).reshape(-1, *shape)
        for name in ("image", "gradient")
    )
    counts = np.stack(rows["counts"].to_list()).sum(axis=0)
    return GradientPictures(
        counts=counts, num_samples=len(rows), images=images, gradients=gradients
    )


def audit_of(root: StorePath, fingerprint: str) -> AuditResult | None:
    """The trust audit of a network, on test images where there is one; None without any."""
    for split in (SplitName.TEST, SplitName.VALIDATION):
        found = store.read_audit(root, fingerprint, split)
        if found is not None:
            keys = ("name", "question", "status", "sentence")
            return AuditResult(
                status=str(found["status"]),
                split=split,
                num_samples=int(found.get("num_samples", 0)),
                robust_accuracy=float(found.get("robust_accuracy", np.nan)),
                checks=tuple(
                    AuditCheck(**{key: str(check.get(key, "")) for key in keys})
                    for check in found["checks"]
                ),
            )
    return None


def _gradients(root: StorePath, fingerprint: str) -> GradientStats | None:
    for split in (SplitName.VALIDATION, SplitName.TEST):
        rows = store.read_measurements(root, fingerprint, split)
        if not rows.empty:
            return _gradient_stats(rows.drop_duplicates("sample", keep="last"), split)
    return None


def _gradient_stats(rows: pd.DataFrame, split: str) -> GradientStats:
    density = rows.get("gradient_density", pd.Series(np.nan, index=rows.index))
    ratio = rows.get(RATIO, pd.Series(np.nan, index=rows.index)).dropna()
    upper = 3 * rows.get("gradient_l0", pd.Series(np.nan, index=rows.index)).loc[ratio.index]
    within = ((ratio >= 3) & (ratio <= upper)).mean() if len(ratio) else np.nan
    return GradientStats(
        split=split,
        total=len(rows),
        undefined=int(density.isna().sum()),
        means={name: float(rows[name].mean()) for name in GRADIENTS if name in rows},
        ratio_median=float(ratio.median()),
        within_bounds=float(within),
    )


def _points(trials: Any) -> tuple[list[TrialResult], list[Point]]:
    paired = [(trial, trial.point(SplitName.VALIDATION)) for trial in trials]
    return [trial for trial, _ in paired], [point for _, point in paired]


def _compared(first: TrialResult, second: TrialResult, split: str, *, attacked: bool) -> Comparison:
    return compare(*(_outcome(trial, split, attacked=attacked) for trial in (first, second)))


def _outcome(trial: TrialResult, split: str, *, attacked: bool) -> Outcomes:
    result = trial.splits[split]
    assert result is not None
    outcome = result.survivors if attacked else result.correct
    assert outcome is not None
    return outcome


def _flat(study: Study, trial: TrialResult) -> dict[str, Any]:
    row = trial.row
    flat: dict[str, Any] = {
        "label": row.label,
        "fingerprint": row.fingerprint,
        "role": row.role,
        "strategy": row.strategy,
        "method": row.method,
    }
    flat |= {parameter.path: value_of(row, parameter.path) for parameter in study.parameters}
    for split in (SplitName.VALIDATION, SplitName.TEST):
        for kind, accuracy in (("clean", trial.clean(split)), ("robust", trial.robust(split))):
            low, high = accuracy.interval if accuracy else (np.nan, np.nan)
            flat |= {
                f"{split}_{kind}": accuracy.value if accuracy else np.nan,
                f"{split}_{kind}_low": low,
                f"{split}_{kind}_high": high,
                f"{split}_{kind}_num_samples": accuracy.total if accuracy else 0,
            }
    means = trial.gradients.means if trial.gradients else {}
    flat |= {name: means.get(name, np.nan) for name in GRADIENTS}
    flat |= {
        "front": any(trial is member for member in study.front),
        "front_probability": study.front_probability(trial),
        "feasible": row.feasible,
        "audit": trial.audit.status if trial.audit else "",
        "outcome": str(row.outcome or "not finished"),
        "reason": row.reason,
        "training_s": row.training_s,
        "evaluation_s": row.evaluation_s,
    }
    return flat
