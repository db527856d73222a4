"""Who broke what: by attack, the images it breaks, and those that no other attack breaks."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.records import SplitName
from reports.plots.members import notable
from reports.plots.networks import compared, left_out
from reports.plots.style import Drawn, Omitted, epsilon_of
from reports.study import Study, TrialResult

NAME, TITLE = "breakdown", "Who broke what"
_NETWORKS, _MEMBERS = 8, 16
_COLUMNS = ("label", "strategy", "split", "member", "broken", "broken_only_by_it", "num_correct",
            "num_samples")  # fmt: skip


def draw(study: Study) -> Drawn | Omitted:
    """A row an attack, a column a network: broken by it, and broken only by it."""
    split = study.reporting_split
    data = breakdown_frame(study, notable(study), split)
    shown = [t for t in compared(study, _NETWORKS) if t.row.label in set(data["label"])]
    if data.empty or not shown:
        reason = "no complete verdicts of baselines or front are stored"
        return Omitted(name=NAME, title=TITLE, reason=reason)
    chained = study.suites[split].survivors_only
    names = [trial.row.label for trial in shown]
    kept, rest = _ranked(data[data["label"].isin(names)], chained=chained)
    figure = Figure(
        figsize=(3.0 + 0.85 * len(names), 1.7 + 0.34 * (len(kept) + bool(rest))),
        layout="constrained",
    )
    ax = figure.add_subplot()
    ax.grid(visible=False)

    def table(value: str) -> pd.DataFrame:
        return data.pivot(index="member", columns="label", values=value)[names]

    counts = _with_others(table("broken"), kept, rest, chained=chained)
    only = _with_others(table("broken_only_by_it"), kept, rest, chained=True)
    broken, alone = counts.to_numpy(float), only.to_numpy(float)
    shares = broken / np.maximum(table("num_correct").iloc[0].to_numpy(float), 1)
    ax.pcolormesh(shares, vmin=0, vmax=1, cmap="Greys", edgecolors="white", linewidth=1.5)
    for (row, column), value in np.ndenumerate(broken):
        text = f"{100 * shares[row, column]:.0f}"
        if not chained:
            text += f"  ({alone[row, column]:.0f})"
        ax.text(column + 0.5, row + 0.5, text if np.isfinite(value) else "n/a", ha="center",
                va="center", fontsize=9.5, color="white" if shares[row, column] > 0.55 else "black",
                fontweight="bold" if alone[row, column] > 0 else "normal")  # fmt: skip
    labels = [str(name) for name in counts.index]
    ax.set_xlim(0, len(names))
    ax.set_ylim(len(labels), 0)
    ax.set_yticks(np.arange(len(labels)) + 0.5, labels)
    turned = max(map(len, names)) > 9
    ax.set_xticks(np.arange(len(names)) + 0.5, names, rotation=30 if turned else 0,
                  ha="left" if turned else "center", rotation_mode="anchor")  # fmt: skip
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return Drawn(
        name=NAME,
        title=TITLE,
        reading=_reading(study, split, rest, chained=chained) + left_out(study, shown),
        figure=figure,
        data=data,
    )


def breakdown_frame(study: Study, trials: Sequence[TrialResult], split: str) -> pd.DataFrame:
    """By network and member: images that it breaks, and that it alone breaks; counts.

    Where members attack only what those before them left, `broken` counts what is still right
    before a member and wrong after it, and what it alone could break is not known.
    """
    rows = []
    suite = study.suites[split]
    for trial in trials:
        result = trial.splits.get(split)
        if result is None or result.gaps or result.correct is None:
            continue
        standing = result.correct
        # Whoever is a source is not attacked by transfer from itself.
        for member in suite.of(trial.row.fingerprint).members:
            survives = result.outcomes[member].to_numpy(dtype=bool)
            broken, alone = standing & ~survives, result.broken_only_by(member)
            if suite.survivors_only:
                standing, alone = standing & survives, None
            rows.append(
                {
                    "label": trial.row.label,
                    "strategy": trial.row.strategy,
                    "split": str(split),
                    "member": member,
                    "broken": int(broken.sum()),
                    "broken_only_by_it": np.nan if alone is None else alone,
                    "num_correct": int(result.correct.sum()),
                    "num_samples": result.expected,
                }
            )
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _ranked(data: pd.DataFrame, *, chained: bool) -> tuple[list[str], list[str]]:
    """Members to show, strongest first, and the others; a chain stays in its order."""
    totals = data.groupby("member", sort=False)[["broken_only_by_it", "broken"]].sum()
    by = ["broken"] if chained else ["broken_only_by_it", "broken"]
    order = totals.sort_values(by, ascending=False, kind="stable").index
    most = _MEMBERS if len(order) > _MEMBERS + 1 else len(order)
    kept = set(order[:most])
    listed = [str(name) for name in (totals.index if chained else order)]
    return [n for n in listed if n in kept], [n for n in listed if n not in kept]


def _with_others(
    table: pd.DataFrame, kept: list[str], rest: list[str], *, chained: bool
) -> pd.DataFrame:
    """Rows of `kept`, and one for the rest: the strongest of them, or in a chain their sum."""
    rows = table.reindex(index=kept)
    if rest:
        others = table.reindex(index=rest)
        label = f"{len(rest)} others, {'together' if chained else 'the strongest'}"
        rows.loc[label] = others.sum() if chained else others.max()
    return rows


def _reading(study: Study, split: str, rest: list[str], *, chained: bool) -> str:
    name = "test" if split == SplitName.TEST else "validation"
    if chained:
        return (
            f"Percent of the {name} images right without attack that each attack broke first, at "
            f"{epsilon_of(study)}, in the order they ran: each saw only what those before it had "
            "left, so a column adds up to all that was broken, and what an attack could break by "
            "itself is not known."
        )
    return (
        f"Percent of the {name} images right without attack that each attack breaks at "
        f"{epsilon_of(study)}; in brackets how many images it alone breaks, bold where there are "
        "any: without that attack these would have counted as robust. Strongest first."
    )
