"""Figure 5: which attack of the ensemble broke which network."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.records import SplitName
from reports.plots.style import Drawn, Omitted, epsilon_of
from reports.study import Study, TrialResult
from reports.wording import short_method

NAME, TITLE = "members", "Accuracy under each attack of the ensemble"
_MOST = 16
"""Rows that stay readable."""
_WIDEST = 24
"""Attacks that do."""


def draw(study: Study) -> Drawn | Omitted:
    """Heat strip: a row per network, a column per attack, the union last."""
    split = study.reporting_split
    shown = [trial for trial in notable(study) if trial.splits.get(split) is not None]
    members = study.suites[split].members
    if not shown or not members:
        reason = "no verdicts of baselines or front are stored on the test or validation split"
        return Omitted(name=NAME, title=TITLE, reason=reason)
    if len(members) > _WIDEST:
        reason = (
            f"{len(members)} attacks do not fit on one strip; “Who broke what” shows the strongest "
            "and tables/members.csv has all"
        )
        return Omitted(name=NAME, title=TITLE, reason=reason)
    data = member_frame(study, shown, split)
    columns = ["clean", *members, "all of them"]
    table = data.pivot(index="label", columns="member", values="accuracy")
    values = table.reindex(index=[t.row.label for t in shown], columns=columns).to_numpy(float)
    figure = Figure(
        figsize=(max(6.2, 2.6 + 0.62 * len(columns)), 2.1 + 0.36 * len(shown)),
        layout="constrained",
    )
    ax = figure.add_subplot()
    ax.grid(visible=False)
    ax.pcolormesh(values, vmin=0, vmax=1, cmap="cividis", edgecolors="white", linewidth=1.5)
    ax.invert_yaxis()
    for (row, column), value in np.ndenumerate(values):
        text = "n/a" if np.isnan(value) else f"{100 * value:.0f}"
        dark = not np.isnan(value) and value < 0.55
        ax.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=9.5,
                color="white" if dark else "black",
                fontweight="bold" if column == len(columns) - 1 else "normal")  # fmt: skip
    centres = np.arange(len(columns)) + 0.5
    ax.set_xticks(centres, columns, rotation=38, ha="right", rotation_mode="anchor")
    ax.set_yticks(
        np.arange(len(shown)) + 0.5,
        [f"{t.row.label} ({short_method(t.row.method)})" for t in shown],
    )
    ax.tick_params(length=0)
    for edge in (1, len(columns) - 1):
        ax.axvline(edge, color="white", lw=4)
    for spine in ax.spines.values():
        spine.set_visible(False)
    alone = "under each attack alone"
    if study.suites[split].survivors_only:
        alone = "after each attack and those left of it"
    split_name = "test" if split == SplitName.TEST else "validation"
    return Drawn(
        name=NAME,
        title=TITLE,
        reading=(
            f"Percent of {split_name} images that stay correct {alone}, at {epsilon_of(study)}; "
            "the last "
            "column counts only images that survive all of them, so it is never above the others. "
            "A name reads attack+oracle: what the attacker did, and which gradient it followed."
        ),
        figure=figure,
        data=data,
    )


def notable(study: Study) -> list[TrialResult]:
    """Baselines, then the front, then the best: what a reader compares."""
    baselines = [trial for trial in study.baselines if trial.complete]
    listed = [*baselines, *reversed(study.front), *([study.best] if study.best else [])]
    return list(dict.fromkeys(listed))[:_MOST]


def member_frame(study: Study, trials: list[TrialResult], split: str) -> pd.DataFrame:
    """Accuracy under each member alone and under all; fractions, NaN where incomplete."""
    rows = []
    for trial in trials:
        result = trial.splits.get(split)
        if result is None:
            continue
        cells = [(name, result.member(name)) for name in ("clean", *study.suites[split].members)]
        for name, cell in [*cells, ("all of them", result.robust)]:
            low, high = cell.interval if cell else (np.nan, np.nan)
            # Of a chain, whose members saw only what was left, it is not known.
            chained = study.suites[split].survivors_only
            alone = None if chained else result.broken_only_by(name)
            rows.append(
                {
                    "label": trial.row.label,
                    "strategy": trial.row.strategy,
                    "split": split,
                    "member": name,
                    "accuracy": cell.value if cell else np.nan,
                    "low": low,
                    "high": high,
                    "num_samples": result.expected,
                    "broken_only_by_it": np.nan if alone is None else alone,
                }
            )
    return pd.DataFrame(rows)
