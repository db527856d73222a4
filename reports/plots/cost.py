"""Seconds an epoch, by strategy."""

import numpy as np
from matplotlib.figure import Figure

from reports.costs import cost_frame
from reports.plots.style import GREY, WIDTH, Drawn, Omitted, looks
from reports.study import Study

NAME, TITLE = "cost", "What an epoch of training costs"


def draw(study: Study) -> Drawn | Omitted:
    """Median seconds an epoch with quartiles and range, a row a strategy."""
    data = cost_frame(study)
    if data.empty:
        return Omitted(name=NAME, title=TITLE, reason="no epoch's duration is stored")
    figure = Figure(figsize=(WIDTH, 1.5 + 0.36 * len(data)), layout="constrained")
    ax = figure.add_subplot()
    styles = looks(study)
    columns = ["shortest_s", "lower_quartile_s", "median_s", "upper_quartile_s", "longest_s"]
    for row, (strategy, values, ratio) in enumerate(
        zip(data["strategy"], data[columns].to_numpy(float), data["ratio"], strict=True)
    ):
        look = styles[strategy]
        shortest, lower, median, upper, longest = values
        ax.plot((shortest, longest), (row, row), color=GREY, lw=1, zorder=2)
        ax.plot((lower, upper), (row, row), color=look.colour, lw=5, alpha=0.45, zorder=3,
                solid_capstyle="butt")  # fmt: skip
        ax.plot(median, row, look.marker, color=look.colour, markersize=8, zorder=4,
                markeredgecolor="white", markeredgewidth=0.8)  # fmt: skip
        text = f"{median:.3g} s" + (f", {ratio:.2g}×" if np.isfinite(ratio) else "")
        ax.annotate(text, (longest, row), (8, 0), textcoords="offset points", va="center",
                    fontsize=9.5, color="#222222")  # fmt: skip
    ax.set_yticks(range(len(data)), data["strategy"])
    ax.set_ylim(len(data) - 0.5, -0.5)
    ax.set_xlim(0, float(data["longest_s"].max()) * 1.28)
    ax.set_xlabel("Seconds an epoch")
    ax.grid(visible=False, axis="y")
    return Drawn(
        name=NAME,
        title=TITLE,
        reading=(
            "Marks are medians over all epochs of all networks of a strategy, thick bars the "
            "middle half, thin lines the whole range; beside them the median and how many times "
            "that of training without a defence it is. Networks trained at the same time share "
            "the machine, which lengthens epochs."
        ),
        figure=figure,
        data=data,
    )
