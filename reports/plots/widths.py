"""Robust accuracy under one attack against the width of the surrogate that it follows."""

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from reports.evidence import Evidence, StoredAttack, common_samples, union
from reports.plots.members import notable
from reports.plots.networks import compared, left_out, number_of_images, rows_of_a_split
from reports.plots.style import WIDTH, Drawn, Omitted, percent_axis
from reports.study import Study, TrialResult
from reports.wording import radius

NAME, TITLE = "widths", "Robust accuracy against the surrogate's width"
ENSEMBLE = ("triangle", "sigmoid", "arctangent", "rga")
_FEWEST, _MOST = 5, 6
_WIDE = re.compile(r"^([a-z_]+?)(?:-(\d+(?:\.\d+)?(?:e-?\d+)?))?$")
_LINES = {  # label, colour, dashes
    "single": ("width 1 alone", "#D55E00", (0, (1.5, 1.5))),
    "ensemble": ("four-member ensemble", "#0072B2", (0, (6, 2))),
    "all widths": ("union of all widths", "#009E73", (0, (6, 2, 1.5, 2))),
    "everything": ("union of everything", "#000000", "-"),
}
_COLUMNS = ("label", "strategy", "split", "attack", "surrogate", "what", "width", "accuracy", "low",
            "high", "num_samples", "num_members")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Widths:
    """One attack through one surrogate of several widths."""

    attack: str
    surrogate: str
    by_width: dict[float, StoredAttack]


def draw(study: Study) -> Drawn | Omitted:
    """A panel a network: the curve over widths, and lines for what unions reach."""
    data = width_frame(study, notable(study))
    if data.empty:
        reason = (
            f"it needs one attack, on all images, through {_FEWEST} widths of a surrogate, and "
            "baselines and front have none"
        )
        return Omitted(name=NAME, title=TITLE, reason=reason)
    shown = [t for t in compared(study, _MOST) if t.row.label in set(data["label"])]
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    size = (WIDTH if columns == 1 else 1.5 * WIDTH, 1.0 + 2.5 * rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for ax, trial in zip(axes, shown, strict=False):
        _panel(ax, data[data["label"] == trial.row.label])
        ax.set_title(trial.row.label, fontsize=10.5, loc="left")
    for ax in axes[len(shown) :]:
        ax.set_visible(False)
    first = data.iloc[0]
    for index, ax in enumerate(axes[: len(shown)]):
        if index + columns >= len(shown):
            ax.set_xlabel(f"Width of the {first['surrogate']} surrogate (membrane potential)")
            ax.tick_params(labelbottom=True)
        if index % columns == 0:
            ax.set_ylabel(f"Robust accuracy, {first['split']} (%)")
    percent_axis(axes[0].yaxis)
    axes[0].set_ylim(bottom=0)
    handles: dict[str, Any] = {}
    for ax in axes[: len(shown)]:
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=3)
    return Drawn(
        name=NAME,
        title=TITLE,
        reading=(
            f"A panel a network: share of {number_of_images(data)} {first['split']} images that "
            f"stay correct under {first['attack']} "
            f"through the {first['surrogate']} surrogate of each width, with "
            "95 % Wilson intervals. Lines are single attacks or unions; lower means a stronger "
            "attack. "
            f"The ensemble is {', '.join(ENSEMBLE)}; everything is every stored attack on these "
            f"images within the evaluation's radius.{left_out(study, shown)}"
        ),
        figure=figure,
        data=data,
    )


def width_frame(study: Study, trials: list[TrialResult]) -> pd.DataFrame:
    """By network: accuracy at each width, of the single surrogate, and of the unions."""
    return rows_of_a_split(study, trials, partial(_rows, study), _COLUMNS)


def parsed_oracle(name: str) -> tuple[str, float] | None:
    """Surrogate and width of an oracle's label: `triangle-0.5`, `triangle` (width 1)."""
    match = _WIDE.match(name)
    return (match[1], float(match[2] or 1.0)) if match else None


def widest(evidence: Evidence) -> Widths | None:
    """The attack and surrogate of the most widths, at one radius, if they are enough."""
    found: dict[tuple[str, str, float], dict[float, StoredAttack]] = {}
    for attack in evidence.attacks:
        parsed = parsed_oracle(attack.oracle)
        if parsed and not attack.chained:
            key = (attack.attack, parsed[0], attack.epsilon)
            found.setdefault(key, {})[parsed[1]] = attack
    chosen = max(found, key=lambda key: len(found[key]), default=None)
    if chosen is None or len(found[chosen]) < _FEWEST:
        return None
    by_width = dict(sorted(found[chosen].items()))
    return Widths(attack=chosen[0], surrogate=chosen[1], by_width=by_width)


def _rows(study: Study, trial: TrialResult, split: str) -> list[dict[str, Any]]:
    evidence = trial.evidence.get(split)
    widths = widest(evidence) if evidence else None
    if evidence is None or widths is None:
        return []
    curve = list(widths.by_width.values())
    samples = common_samples(curve)
    if not samples:
        return []
    limit = max(float(study.facts.get("epsilon") or 0), curve[0].epsilon) * (1 + 1e-9)
    covering = [
        attack
        for attack in evidence.attacks
        if attack.samples.issuperset(samples) and not attack.epsilon > limit
    ]
    same = {
        attack.oracle: attack
        for attack in covering
        if attack.attack == widths.attack and not attack.chained
    }
    lines = {
        "single": [widths.by_width[1.0]] if 1.0 in widths.by_width else [],
        "ensemble": [same[name] for name in ENSEMBLE] if set(ENSEMBLE) <= set(same) else [],
        "all widths": curve,
        "everything": covering,
    }
    cells = [("width", width, [attack]) for width, attack in widths.by_width.items()]
    cells += [(what, float("nan"), attacks) for what, attacks in lines.items() if attacks]
    rows = []
    for what, width, attacks in cells:
        found = union(attacks, samples)
        low, high = found.interval
        rows.append(
            {
                "label": trial.row.label,
                "strategy": trial.row.strategy,
                "split": str(split),
                "attack": f"{widths.attack}, ε = {radius(curve[0].epsilon)}",
                "surrogate": widths.surrogate,
                "what": what,
                "width": width,
                "accuracy": found.value,
                "low": low,
                "high": high,
                "num_samples": found.total,
                "num_members": sum(attack.attack != "clean" for attack in attacks),
            }
        )
    return rows


def _panel(ax: Any, data: pd.DataFrame) -> None:
    curve = data[data["what"] == "width"]
    spread = [curve["accuracy"] - curve["low"], curve["high"] - curve["accuracy"]]
    ax.errorbar(curve["width"], curve["accuracy"], [s.clip(lower=0) for s in spread],
                color="#444444", marker="o", markersize=4, lw=1.2, elinewidth=0.7,
                label="one width")  # fmt: skip
    for what, (text, colour, dash) in _LINES.items():
        for value in data.loc[data["what"] == what, "accuracy"]:
            # Below the others, whose dashes show where the union of everything is the same.
            below = what == "everything"
            ax.axhline(value, color=colour, ls=dash, lw=1.6, label=text, zorder=2 - below)
    ax.set_xlim(left=0)
