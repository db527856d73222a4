"""The tables of a report: formatted cells for the page; CSV files hold the bare fractions."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.records import SplitName
from reports.front_notes import probability
from reports.parameters import is_number, number, value_of
from reports.plots.members import notable
from reports.provenance import mark
from reports.statistics import wilson_interval
from reports.study import BaselineComparison, Study, TrialResult
from reports.unions import CLEAN, Accuracy
from reports.wording import NBSP, duration, interval, p_value, percent, signed_points

_DASH = "–"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is shown, and what it is sorted by."""

    text: str
    sort: float | str
    note: str = ""
    """Smaller text below."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Column heads and rows of cells."""

    name: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    """Positions of the columns that hold numbers."""
    filtered: tuple[int, ...] = ()
    """Positions of the columns whose values can be chosen from, to show some rows only."""

    @property
    def chips(self) -> list[tuple[int, str, list[str]]]:
        """Position, head and values of the filtered columns that hold more than one value."""
        found = [
            (i, self.heads[i], list(dict.fromkeys(str(row[i].sort) for row in self.rows)))
            for i in self.filtered
        ]
        return [chip for chip in found if len(chip[2]) > 1]

    def frame(self) -> pd.DataFrame:
        """What the cells are sorted by, in full precision: accuracies as fractions.

        Where a column has smaller text below its cells, such as intervals, `HEAD, range` has it,
        behind all columns.
        """
        frame = pd.DataFrame([[cell.sort for cell in row] for row in self.rows], columns=self.heads)
        for index, head in enumerate(self.heads):
            if any(row[index].note for row in self.rows):
                frame[f"{head}, range"] = [row[index].note for row in self.rows]
        return frame


def trials_table(study: Study) -> Table:
    """Every trial: what it was, what it reached, how it ended."""
    tested = any(trial.splits.get(SplitName.TEST) for trial in study.trials)
    splits = [SplitName.VALIDATION, *([SplitName.TEST] if tested else [])]
    heads = ["Trial", "Strategy", *(p.symbol for p in study.parameters)]
    for split in splits:
        short = "test" if split == SplitName.TEST else "val."
        heads += [f"Clean %, {short}", f"Robust %, {short}", f"n, {short}"]
    heads += ["On the front, probability"]
    heads += ["‖g‖₁", "‖g‖₂", "Density", "Training", "Outcome"]
    rows = [_trial_row(study, trial, splits) for trial in study.trials]
    numeric = frozenset(range(2, len(heads) - 1))
    title = "All trials"
    return Table(
        name="trials",
        title=title,
        heads=tuple(heads),
        rows=tuple(rows),
        numeric=numeric,
        filtered=(1,),
    )


def comparison_table(study: Study) -> Table:
    """The best searched trial against each baseline, paired on the same images."""
    return Table(
        name="comparisons",
        title="The best searched setting against the baselines",
        heads=(
            "Baseline",
            "Images",
            "Robust, difference in points",
            "Adjusted p",
            "Clean, difference in points",
            "Robust accuracy",
        ),
        rows=tuple(_comparison_row(comparison) for comparison in study.comparisons),
        numeric=frozenset({1, 2, 3, 4}),
    )


def gradient_table(study: Study) -> Table:
    """Gradient measurements of what is notable beside what Theorem 4.3 states."""
    rows = []
    for trial in notable(study):
        stats = trial.gradients
        if stats is None:
            continue
        means = [stats.means.get(f"gradient_{name}", math.nan) for name in ("l1", "l2", "l0")]
        density = stats.means.get("gradient_density", math.nan)
        values = [*means, density, stats.means.get("hoyer", math.nan), stats.ratio_median]
        share = stats.within_bounds
        rows.append(
            (
                _marked(trial.row.label, stale=bool(trial.stale_gradients)),
                *(_number(value) for value in values),
                Cell(text=percent(share), sort=_sortable(share)),
                _number(stats.undefined),
                _number(stats.total),
            )
        )
    heads = (
        *("Trial", "‖g‖₁", "‖g‖₂", "‖g‖₀", "Density", "Hoyer", "Vulnerability ratio (median)"),
        *("Within 3 … 3‖g‖₀", "Zero gradients", "Images"),
    )
    return Table(
        name="gradients",
        title="Gradients and vulnerability of baselines, front and best setting",
        heads=heads,
        rows=tuple(rows),
        numeric=frozenset(range(1, len(heads))),
    )


def audit_table(study: Study) -> Table:
    """What the trust audit says of each network it looked at."""
    rows = []
    for trial in study.trials:
        if trial.audit is None:
            continue
        found = trial.audit
        low, high = wilson_interval(
            round(found.robust_accuracy * found.num_samples), found.num_samples
        )
        rows.append(
            (
                _text(trial.row.label),
                _text(found.status),
                Cell(
                    text=f"{100 * found.robust_accuracy:.1f}",
                    sort=found.robust_accuracy,
                    note=interval(low, high),
                ),
                _number(found.num_samples),
                _text(", ".join(found.named("FAIL")) or _DASH),
                _text(", ".join(found.named("WARN")) or _DASH),
            )
        )
    heads = ("Trial", "Audit", "Robust %, audit", "n", "Failed", "Warned")
    return Table(
        name="audit",
        title="Can these numbers be believed?",
        heads=heads,
        rows=tuple(rows),
        numeric=frozenset({2, 3}),
    )


def failure_table(study: Study) -> Table:
    """Trials without a result, and why."""
    rows = [
        (
            _text(trial.row.label),
            _text(trial.row.strategy),
            _text(str(trial.row.outcome)),
            _text(_last_line(trial.row.reason) or "no reason recorded"),
        )
        for trial in study.failures
    ]
    heads = ("Trial", "Strategy", "Outcome", "Reason")
    return Table(name="failures", title="Trials without a result", heads=heads, rows=tuple(rows))


def gaps(study: Study) -> list[str]:
    """One line for each finished trial and split whose verdicts are not complete."""
    return [
        f"{trial.row.label}, {split}: incomplete ({'; '.join(result.gaps)})"
        for trial in study.trials
        for split, result in trial.splits.items()
        if result is not None and result.gaps
    ]


def _trial_row(study: Study, trial: TrialResult, splits: Iterable[str]) -> tuple[Cell, ...]:
    row = trial.row
    cells = [_text(row.label), _text(row.strategy)]
    cells += [_value(value_of(row, parameter.path)) for parameter in study.parameters]
    for split in splits:
        result = trial.splits.get(split)
        cells += [
            _accuracy(trial.clean(split), result is not None, "", trial.is_stale(split, CLEAN)),
            _accuracy(
                trial.robust(split),
                result is not None,
                "; ".join(_gaps(trial, split)),
                trial.is_stale(split),
            ),
            _number(result.expected if result else math.nan),
        ]
    cells.append(_probability(study.front_probability(trial)))
    means = trial.gradients.means if trial.gradients else {}
    for name in ("gradient_l1", "gradient_l2", "gradient_density"):
        cells.append(_number(means.get(name, math.nan)))
    cells.append(Cell(text=duration(row.training_s), sort=row.training_s))
    outcome = str(row.outcome or "not finished")
    note = _shortened(_last_line(row.reason)) if row.reason else ""
    note = note or ("" if row.feasible else "breaks a constraint")
    note = note or ("fails the trust audit" if not trial.believed else "")
    note = note or ("front" if trial in study.front else "")
    return (*cells, Cell(text=outcome, sort=outcome, note=note))


def _comparison_row(comparison: BaselineComparison) -> tuple[Cell, ...]:
    robust, clean = comparison.robust, comparison.clean
    verdict = "not distinguishable"
    if comparison.distinguishable:
        verdict = "higher than this baseline" if robust.difference > 0 else "lower"
    return (
        _marked(comparison.baseline.row.label, stale=comparison.stale),
        _number(robust.total),
        _difference(robust.difference, robust.low, robust.high),
        Cell(text=p_value(comparison.adjusted_p), sort=comparison.adjusted_p),
        _difference(clean.difference, clean.low, clean.high),
        _text(verdict),
    )


def _difference(value: float, low: float, high: float) -> Cell:
    bounds = f"{signed_points(low)} to {signed_points(high)}"
    return Cell(text=signed_points(value), sort=100 * value, note=bounds)


def _gaps(trial: TrialResult, split: str) -> tuple[str, ...]:
    result = trial.splits.get(split)
    return result.gaps if result else ()


def _accuracy(accuracy: Accuracy | None, judged: bool, gap: str, stale: bool) -> Cell:
    if accuracy is not None:
        note = interval(*accuracy.interval)
        text = mark(f"{100 * accuracy.value:.1f}", stale=stale)
        return Cell(text=text, sort=accuracy.value, note=note)
    return Cell(text="incomplete" if judged else _DASH, sort="", note=gap)


def _value(value: Any) -> Cell:
    if value is None:
        return Cell(text=_DASH, sort="")
    return Cell(text=number(value), sort=float(value) if is_number(value) else str(value))


def _number(value: float) -> Cell:
    if not math.isfinite(value):
        return Cell(text=_DASH, sort="")
    text = f"{value:,.0f}" if abs(value) >= 1000 else number(value)
    return Cell(text=text.replace(",", NBSP), sort=float(value))


def _probability(value: float) -> Cell:
    text = probability(value) if math.isfinite(value) else _DASH
    return Cell(text=text, sort=_sortable(value))


def _sortable(value: float) -> float | str:
    return value if math.isfinite(value) else ""


def _text(text: str) -> Cell:
    return Cell(text=text, sort=text)


def _marked(text: str, *, stale: bool) -> Cell:
    return Cell(text=mark(text, stale=stale), sort=text)


def _last_line(reason: str) -> str:
    lines = [line for line in reason.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
