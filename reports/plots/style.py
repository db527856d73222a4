"""How every figure looks, what it carries, and how a strategy is told from another."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from reports.parameters import Parameter, is_number, number, value_of
from reports.study import Study, TrialResult
from reports.wording import radius

RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#767676",
    "axes.labelcolor": "#222222",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "svg.hashsalt": "spikeproof",
    "svg.fonttype": "none",
    "savefig.facecolor": "white",
}
WIDTH = 6.2
"""Inches; narrow, so that the text stays readable when the page is a phone's width."""
GREY = "#767676"
_METHOD_STYLES = {  # Okabe-Ito colours; markers differ for print without colour
    "vanilla": ("#000000", "X"),
    "at": ("#D55E00", "s"),
    "rat": ("#CC79A7", "D"),
    "gr": ("#E69F00", "^"),
    "sr": ("#0072B2", "o"),
    "sr_star": ("#009E73", "P"),
}
_SPARE = [("#56B4E9", "v"), ("#999933", "<"), ("#882255", ">"), ("#44AA99", "h")]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure with the data behind it."""

    name: str
    title: str
    reading: str
    """One sentence: how to read it."""
    figure: Figure
    data: pd.DataFrame
    """What is drawn; accuracies as fractions."""
    tips: dict[str, str] = field(default_factory=dict)
    """Text to show over an element, by the element's gid."""

    @property
    def wide(self) -> bool:
        """Whether it needs a whole row of the page."""
        return bool(self.figure.get_figwidth() > 1.15 * WIDTH)


@dataclass(frozen=True, kw_only=True)
class Omitted:
    """A figure that does not apply to this sweep."""

    name: str
    title: str
    reason: str


@dataclass(frozen=True)
class Look:
    """Colour and marker of a strategy."""

    colour: str
    marker: str


def looks(study: Study) -> dict[str, Look]:
    """Colour and marker by strategy label: the method's own, for its first label."""
    spare = iter(_SPARE)
    free = dict(_METHOD_STYLES)
    found: dict[str, Look] = {}
    for trial in study.trials:
        if trial.row.strategy not in found:
            style = free.pop(trial.row.method, None) or next(spare, ("#555555", "."))
            found[trial.row.strategy] = Look(*style)
    return found


def epsilon_of(study: Study) -> str:
    """The attacks' radius for an axis label."""
    return f"ε = {radius(study.facts.get('epsilon'))}"


def percent_axis(axis: Any) -> None:
    """Show an axis that holds fractions in percent."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}"))


def own_value(trial: TrialResult, parameter: Parameter) -> float | None:
    """The trial's value on a numeric parameter, where it has one."""
    value = value_of(trial.row, parameter.path)
    return float(value) if is_number(value) else None


@dataclass(frozen=True)
class Scale:
    """Places a parameter's values on an axis; zero stands left of a break on a log axis."""

    parameter: Parameter
    log: bool
    zero: float | None
    """Where zero is drawn, in data units; None where the axis reaches it by itself."""

    def place(self, value: float) -> float:
        """Position of a value in data units."""
        return self.zero if self.zero is not None and value <= 0 else value

    def apply(self, ax: Any, *, label: bool = True) -> None:
        """Set scale, ticks and label of the horizontal axis."""
        if label:
            ax.set_xlabel(self.parameter.axis_label)
        if not self.log:
            return
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: self._tick(value)))
        ax.xaxis.set_minor_formatter("")
        if self.zero is not None:
            ticks = [tick for tick in ax.get_xticks() if tick > self.zero * 3.5]
            low, high = ax.get_xlim()
            ax.set_xticks([self.zero, *ticks])
            ax.set_xlim(low, high)
            where = np.sqrt(self.zero * self.zero * 3)
            ax.text(where, 0, "//", transform=ax.get_xaxis_transform(), ha="center", va="center",
                    fontsize=11, color="#444444", backgroundcolor="white")  # fmt: skip

    def _tick(self, value: float) -> str:
        return "0" if self.zero is not None and np.isclose(value, self.zero) else number(value)


def scale_for(parameter: Parameter, values: list[float]) -> Scale:
    """The scale of the space, with room for zero where a log axis needs it."""
    positive = [value for value in values if value > 0]
    log = parameter.log and bool(positive)
    broken = log and len(positive) < len(values)
    return Scale(parameter, log, min(positive) / 4 if broken else None)
