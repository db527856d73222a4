"""Accuracy against the radius of an attack."""

import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reports.evidence import StoredAttack, common_samples, union
from reports.plots.members import notable
from reports.plots.networks import (
    NetworkLook,
    compared,
    left_out,
    network_looks,
    number_of_images,
    rows_of_a_split,
)
from reports.plots.style import WIDTH, Drawn, Omitted, percent_axis
from reports.study import Study, TrialResult
from reports.wording import radius

NAME, TITLE = "epsilon", "Accuracy against the radius"
_MOST = 6
"""Networks that stay readable in one panel."""
_NUMBER = re.compile(r"-\d+(\.\d+)?$")
_COLUMNS = ("label", "strategy", "split", "family", "threat", "epsilon", "accuracy", "low", "high",
            "members", "num_samples")  # fmt: skip


def draw(study: Study) -> Drawn | Omitted:
    """A panel an attack family, a curve a network; clean accuracy at radius 0."""
    data = radius_frame(study, notable(study))
    if data.empty:
        reason = (
            "it needs an attack, on all images, at two radii or more, named NAME-1, NAME-2 and so "
            "on, and none is stored for baselines or front"
        )
        return Omitted(name=NAME, title=TITLE, reason=reason)
    shown = [t for t in compared(study, _MOST) if t.row.label in set(data["label"])]
    styles = network_looks(study, shown)
    families = list(dict.fromkeys(data["family"]))
    columns = min(2, len(families))
    rows = -(-len(families) // columns)
    size = (WIDTH if columns == 1 else 1.5 * WIDTH, 0.9 + 3.2 * rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    unit, label = _unit(data)
    for ax, family in zip(axes, families, strict=False):
        _panel(ax, data[data["family"] == family], styles, unit)
        ax.set_title(family, fontsize=10.5, loc="left")
        ax.set_xlabel(label)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    for ax in axes[len(families) :]:
        ax.set_visible(False)
    for ax in axes[::columns]:
        ax.set_ylabel(f"Accuracy, {data['split'].iloc[0]} (%)")
    axes[0].set_ylim(-0.02, 1.02)
    percent_axis(axes[0].yaxis)
    handles, texts = axes[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside upper left", ncols=4, columnspacing=1.2)
    return Drawn(
        name=NAME,
        title=TITLE,
        reading=(
            "A panel an attack, a curve a network: the further right, the more each pixel may "
            "change; at 0 stands the accuracy without attack. Where an attack ran through several "
            "oracles, an image counts only if it survives all of them. Vertical bars are 95 % "
            f"Wilson intervals of {number_of_images(data)} images.{left_out(study, shown)}"
        ),
        figure=figure,
        data=data,
    )


def radius_frame(study: Study, trials: list[TrialResult]) -> pd.DataFrame:
    """By network, attack family and radius: the share of images that stays correct."""
    return rows_of_a_split(study, trials, _rows, _COLUMNS)


def family_of(attack: str) -> str:
    """The attack's name without a number at its end: `fgsm` of `fgsm-2`."""
    return _NUMBER.sub("", attack)


def _rows(trial: TrialResult, split: str) -> list[dict[str, Any]]:
    evidence = trial.evidence.get(split)
    clean = evidence.clean if evidence else None
    if evidence is None or clean is None:
        return []
    families: dict[str, list[StoredAttack]] = {}
    for attack in evidence.attacks:
        # Flips are counted, and have no radius.
        within = attack.epsilon > 0 and attack.threat != "binary"
        if attack is not clean and within and not attack.chained:
            families.setdefault(family_of(attack.attack), []).append(attack)
    rows = []
    for family, attacks in families.items():
        radii = sorted({attack.epsilon for attack in attacks})
        samples = common_samples([clean, *attacks])
        if len(radii) < 2 or not samples:
            continue
        for epsilon in (0.0, *radii):
            own = [clean] if epsilon == 0 else [a for a in attacks if a.epsilon == epsilon]
            found = union(own, samples)
            low, high = found.interval
            rows.append(
                {
                    "label": trial.row.label,
                    "strategy": trial.row.strategy,
                    "split": str(split),
                    "family": family,
                    "threat": attacks[0].threat,
                    "epsilon": epsilon,
                    "accuracy": found.value,
                    "low": low,
                    "high": high,
                    "members": " ".join(attack.member for attack in own),
                    "num_samples": found.total,
                }
            )
    return rows


def _panel(ax: Any, data: pd.DataFrame, styles: dict[str, NetworkLook], unit: float) -> None:
    for label, look in styles.items():
        own = data[data["label"] == label]
        spread = np.array([own["accuracy"] - own["low"], own["high"] - own["accuracy"]])
        ax.errorbar(own["epsilon"] * unit, own["accuracy"], spread.clip(min=0), color=look.colour,
                    marker=look.marker, ls=look.dash, lw=1.4, markersize=5.5, elinewidth=0.8,
                    capsize=2, label=label)  # fmt: skip


def _unit(data: pd.DataFrame) -> tuple[float, str]:
    """Factor and axis label: for images, 255ths where all radii are whole ones."""
    if set(data["threat"]) - {"", "pixels"}:
        return 1.0, "Radius ε (events; scaled: of the largest count)"
    if all("/" in radius(value) or value == 0 for value in data["epsilon"]):
        return 255.0, "Radius ε (1/255 of the pixel range)"
    return 1.0, "Radius ε (pixels lie in [0, 1])"
