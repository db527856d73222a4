"""Figure 4: robust accuracy over two searched parameters."""

import pandas as pd
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pipeline.records import SplitName
from reports.parameters import number
from reports.plots.style import WIDTH, Drawn, Omitted, epsilon_of, looks, own_value, percent_axis
from reports.study import Study
from reports.wording import percent

NAME = "map"
SPLIT = SplitName.VALIDATION


def draw(study: Study) -> Drawn | Omitted:
    """One mark per trial at its two parameters, coloured by robust accuracy."""
    numeric = [parameter for parameter in study.parameters if parameter.numeric]
    if len(numeric) < 2:
        reason = f"it needs two searched numeric parameters, this space has {len(numeric)}"
        return Omitted(name=NAME, title="Map of two parameters", reason=reason)
    across, up = numeric[:2]
    title = f"Robust accuracy over {across.symbol} and {up.symbol}"
    rows = [
        {
            "label": trial.row.label,
            "strategy": trial.row.strategy,
            across.path: own_value(trial, across),
            up.path: own_value(trial, up),
            "clean": (trial.point(SPLIT) or (0.0, 0.0))[0],
            "robust": (trial.point(SPLIT) or (0.0, 0.0))[1],
        }
        for trial in study.judged
        if all(_drawable(own_value(trial, p), log=p.log) for p in (across, up))
        and trial.row.role != "baseline"
    ]
    if len(rows) < 2:
        return Omitted(name=NAME, title=title, reason="fewer than two judged trials have both")
    data = pd.DataFrame(rows)
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    ax = figure.add_subplot()
    norm = Normalize(float(data["robust"].min()), float(data["robust"].max()))
    styles = looks(study)
    tips = {}
    for index, (strategy, x, y, robust, label) in enumerate(
        zip(
            data["strategy"],
            data[across.path],
            data[up.path],
            data["robust"],
            data["label"],
            strict=True,
        )  # fmt: skip
    ):
        ax.scatter([x], [y], c=[robust], norm=norm, cmap="cividis", s=95, edgecolors="#333333",
                   marker=styles[strategy].marker, gid=f"point-{index}", zorder=3)  # fmt: skip
        tips[f"point-{index}"] = (
            f"{label}\n{across.symbol} = {number(x)}, {up.symbol} = {number(y)}"
            f"\nrobust {percent(robust)}"
        )
    for strategy in dict.fromkeys(data["strategy"]):
        ax.plot([], [], styles[strategy].marker, color="#777777", label=strategy)
    for axis, parameter in ((ax.xaxis, across), (ax.yaxis, up)):
        axis.set_label_text(parameter.axis_label)
        if parameter.log:
            (ax.set_xscale if axis is ax.xaxis else ax.set_yscale)("log")
            axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
            axis.set_minor_formatter("")
    bar = figure.colorbar(ScalarMappable(norm, colormaps["cividis"].resampled(32)), ax=ax)
    assert bar.solids is not None
    bar.solids.set(rasterized=False, edgecolor="face")
    bar.set_label(f"Robust accuracy at {epsilon_of(study)}, validation (%)")
    bar.outline.set_visible(False)
    percent_axis(bar.ax.yaxis)
    figure.legend(loc="outside upper left", ncols=4)
    return Drawn(
        name=NAME,
        title=title,
        reading="Each mark is one trained network; the brighter it is, the more images stay "
        "correctly classified under attack. Marks on a log axis leave out values of 0.",
        figure=figure,
        data=data,
        tips=tips,
    )


def _drawable(value: float | None, *, log: bool) -> bool:
    return value is not None and (value > 0 or not log)
