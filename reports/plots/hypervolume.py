"""How the front grew with the compute spent on it."""

import pandas as pd
from matplotlib.figure import Figure

from pipeline.records import SplitName
from reports.front_notes import hypervolume_sentence
from reports.front_statistics import hypervolume
from reports.plots.style import GREY, WIDTH, Drawn, Omitted, looks, percent_axis
from reports.study import Study

NAME, TITLE = "hypervolume", "The front against the compute spent"
SPLIT = SplitName.VALIDATION


def draw(study: Study) -> Drawn | Omitted:
    """Hypervolume of the validation front after each trial, over the seconds spent so far."""
    data = growth(study)
    if data["point"].sum() < 2:
        reason = "fewer than two feasible trials have a full set of validation verdicts"
        return Omitted(name=NAME, title=TITLE, reason=reason)
    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    ax = figure.add_subplot()
    x = [0.0, *data["seconds"]]
    ax.step(x, [0.0, *data["hypervolume"]], where="post", color=GREY, lw=1.4, zorder=2)
    styles, tips = looks(study), {}
    for index, (label, strategy, spent, area, point) in enumerate(
        data[["label", "strategy", "seconds", "hypervolume", "point"]].itertuples(
            index=False, name=None
        )
    ):
        look = styles[strategy]
        face = look.colour if point else "white"
        ax.plot(spent, area, look.marker, color=look.colour, markerfacecolor=face, zorder=3,
                markersize=7, gid=f"point-{index}")  # fmt: skip
        tips[f"point-{index}"] = f"{label}\n{spent:.0f} s so far\nfront {100 * area:.1f} %"
    for strategy in dict.fromkeys(data["strategy"]):
        look = styles[strategy]
        ax.plot([], [], look.marker, color=look.colour, markersize=7, label=strategy)
    if not data["point"].all():
        ax.plot([], [], "o", color=GREY, markerfacecolor="white", label="adds no point")
    found = study.front_statistics
    if found is not None:
        middle, half = (found.high + found.low) / 2, (found.high - found.low) / 2
        ax.errorbar(x[-1] * 1.03, middle, half, color="#222222", capsize=4, lw=1.4, ls="none",
                    label="at the end, 95 % interval")  # fmt: skip
    ax.set_xlabel("Seconds of training and evaluation, summed over trials")
    ax.set_ylabel("Area under the front (% of the square)")
    lowest = min(data.loc[data["hypervolume"] > 0, "hypervolume"].min(), found.low if found else 1)
    ax.set_ylim(bottom=max(0.0, lowest - 0.05))
    ax.set_xlim(left=0)
    percent_axis(ax.yaxis)
    figure.legend(loc="outside upper left", ncols=4, handletextpad=0.4, columnspacing=1.2)
    return Drawn(
        name=NAME,
        title=TITLE,
        reading=(
            "Hypervolume: the area between (0, 0) and the front of clean and robust accuracy, "
            "after each trial in the order they were asked for, baselines first. Trials that "
            "failed or were stopped cost seconds too; a network that two trials share costs once. "
            f"{hypervolume_sentence(study)}"
        ),
        figure=figure,
        data=data,
        tips=tips,
    )


def growth(study: Study) -> pd.DataFrame:
    """By trial, baselines first: seconds so far and hypervolume of the front so far, a fraction."""
    rows, points, seen, seconds = [], [], set(), 0.0
    judged = set(map(id, study.judged))
    for trial in sorted(study.trials, key=lambda t: t.row.role != "baseline"):
        row = trial.row
        if row.outcome is None:
            continue
        if row.fingerprint not in seen:
            seconds += row.training_s + row.evaluation_s
        seen.add(row.fingerprint)
        point = trial.point(SPLIT) if id(trial) in judged and row.feasible else None
        points += [point] if point else []
        rows.append(
            {
                "label": row.label,
                "strategy": row.strategy,
                "outcome": str(row.outcome),
                "seconds": seconds,
                "hypervolume": hypervolume(points),
                "point": point is not None,
            }
        )
    columns = ["label", "strategy", "outcome", "seconds", "hypervolume", "point"]
    return pd.DataFrame(rows, columns=columns)
