"""Figure 6: how training went."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from reports.plots.members import notable
from reports.plots.style import WIDTH, Drawn, Omitted, looks, percent_axis
from reports.study import Study, TrialResult

NAME, TITLE = "training", "Training curves"
_PANELS = (("train_loss", "Training loss"), ("validation_accuracy", "Clean accuracy, val. (%)"))


def draw(study: Study) -> Drawn | Omitted:
    """Loss and clean validation accuracy per epoch; baselines and front in colour."""
    curves = [trial for trial in study.trials if not trial.epochs.empty]
    panels = [p for p in _PANELS if any(p[0] in trial.epochs for trial in curves)]
    if not panels:
        return Omitted(name=NAME, title=TITLE, reason="no epochs are stored for its trials")
    figure = Figure(figsize=(WIDTH, 3.5), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    styles, named = looks(study), notable(study)
    seen: set[str] = set()
    for trial in sorted(curves, key=lambda t: t in named):
        look = styles[trial.row.strategy]
        for ax, (column, _) in zip(axes, panels, strict=True):
            if column not in trial.epochs:
                continue
            bright: dict[str, Any] = {"color": "#c4c4c4", "lw": 0.9, "zorder": 1}
            if trial in named:
                bright = {"color": look.colour, "lw": 1.6, "marker": look.marker, "zorder": 3}
                bright |= {"markevery": max(1, len(trial.epochs) // 6), "markersize": 5}
            ax.plot(trial.epochs["epoch"], trial.epochs[column], **bright)
        if trial in named:
            seen.add(trial.row.strategy)
    for strategy in sorted(seen, key=list(styles).index):
        look = styles[strategy]
        axes[0].plot([], [], color=look.colour, marker=look.marker, markersize=5, label=strategy)
    if any(trial not in named for trial in curves):
        axes[0].plot([], [], color="#c4c4c4", label="other trials")
    for ax, (column, label) in zip(axes, panels, strict=True):
        ax.set_xlabel("Epoch")
        ax.set_ylabel(label)
        ax.xaxis.get_major_locator().set_params(integer=True)
        if column == "validation_accuracy":
            percent_axis(ax.yaxis)
    figure.legend(loc="outside upper left", ncols=4)
    return Drawn(
        name=NAME,
        title=TITLE,
        reading="One line per trained network; coloured lines are the baselines and the front. "
        "The loss is the strategy's own, penalty or attacked images included, so its height "
        "compares within a strategy only.",
        figure=figure,
        data=_data(curves),
    )


def _data(curves: list[TrialResult]) -> pd.DataFrame:
    frames = [t.epochs.assign(label=t.row.label, strategy=t.row.strategy) for t in curves]
    return pd.concat(frames, ignore_index=True)
