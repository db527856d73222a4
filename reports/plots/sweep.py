"""Figures 2 and 3: accuracies and gradient norms against the searched parameter."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.records import SplitName
from reports.parameters import Parameter, axis_of
from reports.plots.labels import spread
from reports.plots.style import (
    WIDTH,
    Drawn,
    Look,
    Omitted,
    Scale,
    epsilon_of,
    looks,
    own_value,
    percent_axis,
    scale_for,
)
from reports.study import Study, TrialResult

SPLIT = SplitName.VALIDATION
_QUANTITIES = (
    ("margin_gradient_l1", "ℓ1 of ∇ margin (filled)", "#0072B2"),
    ("margin_gradient_l2", "ℓ2 of ∇ margin (open)", "#D55E00"),
    ("gradient_l1", "ℓ1 of ∇f_y (filled)", "#0072B2"),
    ("gradient_l2", "ℓ2 of ∇f_y (open)", "#D55E00"),
    ("gradient_density", "Density  ‖g‖₁² / ‖g‖₂²", "#00795A"),
)
"""Means over the samples, two on each of the upper panels; the last alone below them."""
Placed = list[tuple[float, TrialResult]]


def draw_accuracy(study: Study) -> Drawn | Omitted:
    """Clean and robust accuracy against lambda, the shape of the paper's Fig. 3a."""
    name, parameter = "accuracy_by_parameter", axis_of(study.parameters)
    title = f"Accuracy against {parameter.symbol if parameter else 'λ'}"
    if parameter is None:
        return Omitted(name=name, title=title, reason="no numeric parameter was searched")
    placed = _placed((t for t in study.judged if not _drawn_as_line(t, parameter)), parameter)
    if not placed:
        return Omitted(name=name, title=title, reason="no judged trial has a value of it")
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    ax = figure.add_subplot()
    scale = scale_for(parameter, [value for value, _ in placed])
    styles = looks(study)
    for strategy in dict.fromkeys(trial.row.strategy for _, trial in placed):
        own = [(value, trial) for value, trial in placed if trial.row.strategy == strategy]
        _curve(ax, own, scale, styles[strategy], strategy, joined=len(study.parameters) == 1)
    ax.set_ylabel(f"Accuracy, validation (%); attacks at {epsilon_of(study)}")
    ax.set_ylim(-0.02, 1.02)
    percent_axis(ax.yaxis)
    scale.apply(ax)
    _baselines(ax, [t for t in study.judged if _drawn_as_line(t, parameter)], styles)
    figure.legend(loc="outside upper left", ncols=2)
    return Drawn(
        name=name,
        title=title,
        reading=(
            f"From left to right {parameter.symbol} grows. Filled marks are accuracy under attack, "
            "open marks accuracy on clean images; dashed (under attack) and dotted (clean) lines "
            "are the baselines. Vertical bars are 95 % intervals."
        ),
        figure=figure,
        data=_accuracy_data(study, parameter),
    )


def draw_gradients(study: Study) -> Drawn | Omitted:
    """Norms and density of the input gradient against lambda, as in the paper's Fig. 3b."""
    name, parameter = "gradients_by_parameter", axis_of(study.parameters)
    title = f"Input gradients against {parameter.symbol if parameter else 'λ'}"
    if parameter is None:
        return Omitted(name=name, title=title, reason="no numeric parameter was searched")
    placed = _placed([trial for trial in study.trials if trial.gradients], parameter)
    if len({value for value, _ in placed}) < 2:
        reason = "gradient measurements are stored for fewer than two values"
        return Omitted(name=name, title=title, reason=reason)
    figure = Figure(figsize=(WIDTH, 7.4), layout="constrained")
    norms, probability, density = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 2])
    scale = scale_for(parameter, [value for value, _ in placed])
    axes = (norms, _twin(norms), probability, _twin(probability), density)
    styles = looks(study)
    for strategy in dict.fromkeys(trial.row.strategy for _, trial in placed):
        own = [(value, trial) for value, trial in placed if trial.row.strategy == strategy]
        look = ("-" if len(study.parameters) == 1 else "none", styles[strategy].marker)
        for ax, (column, _, colour) in zip(axes, _QUANTITIES, strict=True):
            _quantity(ax, own, scale, column, (colour, *look))
        norms.plot([], [], look[1], color="#666666", label=strategy)
    for ax, (_, label, colour) in zip(axes, _QUANTITIES, strict=True):
        ax.set_ylabel(label, color=colour)
        top = ax.dataLim.ymax
        ax.set_ylim(0.0, 1.1 * top if np.isfinite(top) and top > 0 else 1.0)
    figure.legend(loc="outside upper left", ncols=4)
    scale.apply(norms, label=False)
    scale.apply(density)
    return Drawn(
        name=name,
        title=title,
        reading=(
            "Top: how fast the margin, the right logit minus the best wrong one, changes with the "
            "input. Middle: the same for the probability f_y, as in the paper; it also falls "
            "where the network is merely very sure, and rises when the penalty takes that away. "
            "Bottom: how many input pixels share the gradient, whatever its size; only a fall "
            "there means that it became sparser and not merely smaller."
        ),
        figure=figure,
        data=_gradient_data(placed, parameter),
    )


def _twin(ax: Any) -> Any:
    """A second y axis on the right of the panel."""
    twin = ax.twinx()
    twin.grid(visible=False)
    twin.spines["right"].set_visible(True)
    return twin


def _placed(trials: Iterable[TrialResult], parameter: Parameter) -> Placed:
    """Trials with a value on the axis, by rising value."""
    valued = [(own_value(trial, parameter), trial) for trial in trials]
    kept = [(value, trial) for value, trial in valued if value is not None]
    return sorted(kept, key=lambda pair: (pair[0], pair[1].row.label))


def _drawn_as_line(trial: TrialResult, parameter: Parameter) -> bool:
    return trial.row.role == "baseline" and not own_value(trial, parameter)


def _curve(ax: Any, own: Placed, scale: Scale, look: Look, name: str, *, joined: bool) -> None:
    positions = [scale.place(value) for value, _ in own]
    for kind, face in (("robust", look.colour), ("clean", "white")):
        cells = [t.robust(SPLIT) if kind == "robust" else t.clean(SPLIT) for _, t in own]
        values = [cell.value if cell else np.nan for cell in cells]
        bounds = [cell.interval if cell else (np.nan, np.nan) for cell in cells]
        for x, bound in zip(positions, bounds, strict=True):
            ax.plot((x, x), bound, color=look.colour, lw=1, alpha=0.45)
        line = ("-" if kind == "robust" else (0, (1, 1))) if joined else "none"
        ax.plot(positions, values, marker=look.marker, ls=line, lw=1.4, color=look.colour,
                markerfacecolor=face, markersize=6.5,
                label=f"{name}, {'under attack' if kind == 'robust' else 'clean'}")  # fmt: skip


def _baselines(ax: Any, trials: list[TrialResult], styles: dict[str, Look]) -> None:
    lines: dict[tuple[float, str], dict[str, str]] = {}
    for trial in trials:
        colour = styles[trial.row.strategy].colour
        point = trial.point(SPLIT)
        assert point is not None
        for value, dashes, suffix in zip(
            point, ((0, (1, 2)), (0, (5, 3))), (" clean", ""), strict=True
        ):
            ax.axhline(value, color=colour, ls=dashes, lw=1.1, zorder=1)
            same = lines.setdefault((round(value, 3), suffix), {})
            same[trial.row.label] = colour
    heights = spread([value for value, _ in lines], 0.052, top=1.0)
    for ((_, suffix), same), height in zip(lines.items(), heights, strict=True):
        # Of lines that lie upon each other, all names: the last one drawn hides the others.
        text, colour = f"{', '.join(same)}{suffix}", list(same.values())[-1]
        ax.text(1.01, height, text, transform=ax.get_yaxis_transform(), color=colour,
                va="center", fontsize=9)  # fmt: skip


def _quantity(ax: Any, own: Placed, scale: Scale, column: str, look: tuple[str, str, str]) -> None:
    colour, line, marker = look
    values = [trial.gradients.means.get(column, np.nan) for _, trial in own if trial.gradients]
    face = "white" if column.endswith("_l2") else colour
    ax.plot([scale.place(value) for value, _ in own], values, marker=marker, color=colour,
            markerfacecolor=face, ls=line, lw=1.3, markersize=6.5)  # fmt: skip


def _accuracy_data(study: Study, parameter: Parameter) -> pd.DataFrame:
    rows = []
    for trial in study.judged:
        clean, robust = trial.clean(SPLIT), trial.robust(SPLIT)
        assert clean is not None
        assert robust is not None
        rows.append(
            {
                "label": trial.row.label,
                "strategy": trial.row.strategy,
                "role": trial.row.role,
                parameter.path: own_value(trial, parameter),
                "clean": clean.value,
                "robust": robust.value,
                "robust_low": robust.interval[0],
                "robust_high": robust.interval[1],
            }
        )
    return pd.DataFrame(rows)


def _gradient_data(placed: Placed, parameter: Parameter) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"label": trial.row.label, "strategy": trial.row.strategy, parameter.path: value}
            | (trial.gradients.means if trial.gradients else {})
            for value, trial in placed
        ]
    )
