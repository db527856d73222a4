"""Figure 1: what robustness costs in clean accuracy, over all trials of a sweep."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from pipeline.records import SplitName
from reports.front_notes import probability
from reports.plots.labels import place_labels
from reports.plots.style import GREY, WIDTH, Drawn, Look, Omitted, epsilon_of, looks, percent_axis
from reports.study import Study, TrialResult
from reports.wording import interval, percent, setting, short_method

NAME, TITLE = "front", "Clean against robust accuracy"
SPLIT = SplitName.VALIDATION
_BAND = (
    " The light band holds the middle 80 % of the fronts of resampled images; as a front is the "
    "best of many, resampling moves it up a little."
)


def draw(study: Study) -> Drawn | Omitted:
    """All judged trials with their intervals, the Pareto front, baselines named."""
    if not study.judged:
        reason = "no trial has a full set of validation verdicts yet"
        return Omitted(name=NAME, title=TITLE, reason=reason)
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    ax = figure.add_subplot()
    styles = looks(study)
    tips = {}
    for index, trial in enumerate(study.judged):
        tips[f"point-{index}"] = _tip(trial, study)
        _mark(ax, study, trial, styles[trial.row.strategy], f"point-{index}")
    _finish(ax, study, styles)
    return Drawn(
        name=NAME,
        title=TITLE,
        reading=_reading(study),
        figure=figure,
        data=_data(study),
        tips=tips,
    )


def _mark(ax: Any, study: Study, trial: TrialResult, look: Look, gid: str) -> None:
    clean, robust = trial.clean(SPLIT), trial.robust(SPLIT)
    assert clean is not None
    assert robust is not None
    notable = trial in study.front or trial.row.role == "baseline"
    x, y = clean.value, robust.value
    ax.plot(clean.interval, (y, y), color=look.colour, lw=1, alpha=0.55 if notable else 0.16)
    ax.plot((x, x), robust.interval, color=look.colour, lw=1, alpha=0.55 if notable else 0.16)
    solid = trial.row.feasible and trial.believed
    face = look.colour if solid else "white"
    ax.plot(x, y, look.marker, color=look.colour, markerfacecolor=face, gid=gid, zorder=4,
            markersize=9 if notable else 7, alpha=1.0 if notable else 0.6,
            markeredgecolor="white" if solid else look.colour,
            markeredgewidth=0.8 if solid else 1.5)  # fmt: skip


def _bars(trial: TrialResult) -> list[tuple[float, float]]:
    """Points along the bars of a trial that stand out."""
    clean, robust = trial.clean(SPLIT), trial.robust(SPLIT)
    if clean is None or robust is None or trial.row.role != "baseline":
        return []
    shares = [step / 10 for step in range(11)]
    across = [(low + share * (high - low), robust.value)
              for low, high in [clean.interval] for share in shares]  # fmt: skip
    along = [(clean.value, low + share * (high - low))
             for low, high in [robust.interval] for share in shares]  # fmt: skip
    return across + along


def _finish(ax: Any, study: Study, styles: dict[str, Look]) -> None:
    ax.set_xlabel("Clean accuracy, validation (%)")
    ax.set_ylabel(f"Robust accuracy at {epsilon_of(study)}, validation (%)")
    percent_axis(ax.xaxis)
    percent_axis(ax.yaxis)
    ax.margins(0.07)
    shown = [trial.row.strategy for trial in study.judged]
    for strategy in dict.fromkeys(shown):
        look = styles[strategy]
        ax.plot([], [], look.marker, color=look.colour, markersize=7, label=strategy)
    _band(ax, study)
    corners = [_position(trial) for trial in study.front]
    if len(corners) > 1:
        ax.step(*zip(*corners, strict=True), where="pre", color=GREY, lw=1.2, zorder=2,
                label="Pareto front")  # fmt: skip
    for why in _hollow(study):
        ax.plot([], [], "o", color=GREY, markerfacecolor="white", label=why)
    low, _ = ax.get_xlim()
    if study.floor is not None and study.floor > low:
        ax.axvline(study.floor, color=GREY, lw=1, ls=(0, (4, 3)), label="clean-accuracy floor")
    ax.get_figure().legend(loc="outside upper left", ncols=3, handletextpad=0.4, columnspacing=1.2)
    points = [trial.point(SPLIT) for trial in study.judged]
    texts = [
        (*_position(trial), trial.row.label, styles[trial.row.strategy].colour)
        for trial in dict.fromkeys([*study.baselines, study.best, study.knee])
        if trial is not None and trial in study.judged
    ]
    bars = [end for trial in study.judged for end in _bars(trial)]
    place_labels(ax, texts, [*(point for point in points if point), *bars])


def _band(ax: Any, study: Study) -> None:
    """Between the fronts that 90 % and 10 % of the resamples reach."""
    found = study.front_statistics
    if found is None:
        return
    box = ax.get_xlim(), ax.get_ylim()
    ax.fill_between(found.clean, found.attained_low, found.attained_high, color="#ebebeb", lw=0,
                    step="pre", zorder=1, label="resampled fronts, 10–90 %")  # fmt: skip
    ax.set(xlim=box[0], ylim=box[1])


def _position(trial: TrialResult) -> tuple[float, float]:
    point = trial.point(SPLIT)
    assert point is not None
    return point


def _tip(trial: TrialResult, study: Study) -> str:
    clean, robust = trial.clean(SPLIT), trial.robust(SPLIT)
    assert clean is not None
    assert robust is not None
    kind = short_method(trial.row.method)
    lines = [f"{trial.row.label} ({kind})"]
    lines += [setting(trial, study.parameters)] if setting(trial, study.parameters) else []
    lines += [
        f"clean {percent(clean.value)} ({interval(*clean.interval)})",
        f"robust {percent(robust.value)} ({interval(*robust.interval)})",
        f"{clean.total} validation images",
    ]
    lines += ["on the Pareto front"] if trial in study.front else []
    chance = study.front_probability(trial)
    lines += [f"on the front with probability {probability(chance)}"] if chance >= 0 else []
    lines += [] if trial.row.feasible else ["breaks a constraint of the space"]
    lines += [f"trust audit: {trial.audit.status}"] if trial.audit else []
    return "\n".join(lines)


def _reading(study: Study) -> str:
    hollow = " or ".join(_hollow(study)).replace("breaks", "break").replace("fails", "fail")
    front = "the grey steps join the networks that no other beats in both"
    if len(study.front) == 1:
        front = f"no other network beats {study.front[0].row.label} in both"
    return (
        "Each mark is one trained network: further right is more accurate on clean images, "
        f"further up withstands more attacks. Crosses are 95 % intervals; {front}"
        + (f"; hollow marks {hollow}." if hollow else ".")
        + (_BAND if study.front_statistics else "")
    )


def _hollow(study: Study) -> list[str]:
    """Why marks of this study are hollow."""
    reasons = []
    if any(not trial.row.feasible for trial in study.judged):
        reasons.append("breaks a constraint")
    if any(not trial.believed for trial in study.judged):
        reasons.append("fails the trust audit")
    return reasons


def _data(study: Study) -> pd.DataFrame:
    rows = []
    for trial in study.judged:
        clean, robust = trial.clean(SPLIT), trial.robust(SPLIT)
        assert clean is not None
        assert robust is not None
        rows.append(
            {
                "label": trial.row.label,
                "strategy": trial.row.strategy,
                "clean": clean.value,
                "clean_low": clean.interval[0],
                "clean_high": clean.interval[1],
                "robust": robust.value,
                "robust_low": robust.interval[0],
                "robust_high": robust.interval[1],
                "num_samples": clean.total,
                "front": trial in study.front,
                "front_probability": study.front_probability(trial),
                "feasible": trial.row.feasible,
                "audit": trial.audit.status if trial.audit else "",
            }
        )
    return pd.DataFrame(rows)
