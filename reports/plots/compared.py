"""The figure of a comparison: clean against robust accuracy of networks that were judged alike."""

from collections import Counter
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from reports.compare_queries import ALONE, LAST, Compared, Entry, Group
from reports.compare_wording import chosen_by, of_entry, radius_of
from reports.plots.labels import place_labels
from reports.plots.style import GREY, WIDTH, Drawn, Look, percent_axis
from reports.wording import interval, percent

_LOOKS = (  # Okabe-Ito colours, each with a marker and a line of its own
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", ":"),
    ("#CC79A7", "D", "-."),
    ("#000000", "X", "-"),
    ("#E69F00", "P", "--"),
    ("#56B4E9", "v", ":"),
    ("#999933", "<", "-."),
    ("#882255", ">", "-"),
    ("#44AA99", "h", "--"),
)
_MOST_LABELS = 8


def looks_of(compared: Compared) -> dict[str, tuple[Look, str]]:
    """Colour and marker, and the front's line, by study and single network."""
    found = {}
    for index, source in enumerate(compared.sources):
        colour, marker, line = _LOOKS[index] if index < len(_LOOKS) else ("#555555", ".", "-")
        found[source] = (Look(colour, marker), line)
    return found


def draw(group: Group, styles: dict[str, tuple[Look, str]], name: str, title: str) -> Drawn:
    """Every network with its intervals, and each study's front."""
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    ax = figure.add_subplot()
    fronts = {source: group.front(source) for source in group.sources}
    tips = {}
    drawn: Counter[str] = Counter()
    for index, entry in enumerate(group.entries):
        drawn[entry.fingerprint] += 1
        tips[f"point-{index}"] = _tip(entry, group, entry in fronts[entry.source])
        _mark(ax, entry, styles[entry.source][0], f"point-{index}",
              notable=entry in fronts[entry.source],
              shrink=0.62 ** (drawn[entry.fingerprint] - 1), crowd=len(group.entries))  # fmt: skip
    _finish(ax, group, styles, fronts)
    return Drawn(
        name=name,
        title=title,
        reading=_reading(group),
        figure=figure,
        data=_data(group, fronts),
        tips=tips,
    )


def _mark(
    ax: Any, entry: Entry, look: Look, gid: str, *, notable: bool, shrink: float, crowd: int
) -> None:
    """A network that stands in several studies is drawn for each, one within the other."""
    clean, robust = entry.clean, entry.robust
    x, y = clean.value, robust.value
    faint = 0.5 if notable else 0.15 * min(1.0, 40 / crowd)
    ax.plot(clean.interval, (y, y), color=look.colour, lw=1, alpha=faint)
    ax.plot((x, x), robust.interval, color=look.colour, lw=1, alpha=faint)
    solid = entry.feasible and entry.believed
    ax.plot(x, y, look.marker, color=look.colour, gid=gid, zorder=4,
            markerfacecolor=look.colour if solid else "white",
            markersize=shrink * (9 if notable else 7), alpha=1.0 if notable else 0.65,
            markeredgecolor="white" if solid else look.colour,
            markeredgewidth=0.8 if solid else 1.5)  # fmt: skip


def _finish(
    ax: Any,
    group: Group,
    styles: dict[str, tuple[Look, str]],
    fronts: dict[str, tuple[Entry, ...]],
) -> None:
    ax.set_xlabel(f"Clean accuracy, {group.terms.split} (%)")
    ax.set_ylabel(f"Robust accuracy at {radius_of(group.terms)}, {group.terms.split} (%)")
    percent_axis(ax.xaxis)
    percent_axis(ax.yaxis)
    ax.margins(0.08)
    for source in group.sources:
        look, line = styles[source]
        corners = [(entry.clean.value, entry.robust.value) for entry in fronts[source]]
        joined = len(set(corners)) > 1
        if joined:
            ax.step(*zip(*corners, strict=True), where="pre", color=look.colour, lw=1.3, ls=line,
                    zorder=2)  # fmt: skip
        ax.plot([], [], look.marker, color=look.colour, markersize=7, label=source,
                ls=line if joined else "none", lw=1.3)  # fmt: skip
    if any(not (entry.feasible and entry.believed) for entry in group.entries):
        ax.plot([], [], "o", color=GREY, markerfacecolor="white", label="see caption")
    ax.get_figure().legend(loc="outside upper left", ncols=3, handletextpad=0.5, columnspacing=1.2)
    texts = [
        (e.clean.value, e.robust.value, e.label, styles[e.source][0].colour)
        for e in _named(group, fronts)
    ]
    place_labels(ax, texts, [(e.clean.value, e.robust.value) for e in group.entries])


def _named(group: Group, fronts: dict[str, tuple[Entry, ...]]) -> list[Entry]:
    """Entries whose labels are written: the highest, what was chosen, then the fronts."""
    first = [e for e in group.entries if (e is group.leader or e.chosen) and e.study != ALONE]
    rest = [entry for source in group.sources for entry in fronts[source] if entry.study != ALONE]
    seen: dict[str, Entry] = {}
    for entry in [*first, *rest]:
        seen.setdefault(entry.fingerprint, entry)
    return list(seen.values())[:_MOST_LABELS]


def _tip(entry: Entry, group: Group, on_front: bool) -> str:
    clean, robust = entry.clean, entry.robust
    lines = [
        of_entry(entry),
        f"clean {percent(clean.value)} ({interval(*clean.interval)})",
        f"robust {percent(robust.value)} ({interval(*robust.interval)})",
        f"{clean.total} {group.terms.split} images",
    ]
    lines += ["highest robust accuracy here"] if entry is group.leader else []
    lines += ["on its study's front"] if on_front and entry.study != ALONE else []
    lines += [] if entry.selection == LAST else [chosen_by(entry)]
    lines += [] if entry.feasible else ["breaks a constraint of its space"]
    lines += [f"trust audit: {entry.audit.status}"] if entry.audit else []
    return "\n".join(lines)


def _reading(group: Group) -> str:
    text = (
        "Each mark is one trained network: further right is more accurate on clean images, further "
        "up withstands more attacks. Crosses are 95 % intervals"
    )
    if any(len(group.front(source)) > 1 for source in group.sources):
        text += "; steps join the networks of a study that no other of it beats in both"
    hollow = []
    if any(not entry.feasible for entry in group.entries):
        hollow.append("break a constraint of their space")
    if any(not entry.believed for entry in group.entries):
        hollow.append("fail the trust audit")
    return text + (f"; hollow marks {' or '.join(hollow)}." if hollow else ".")


def _data(group: Group, fronts: dict[str, tuple[Entry, ...]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "study": entry.study,
                "label": entry.label,
                "fingerprint": entry.fingerprint,
                "strategy": entry.strategy,
                "clean": entry.clean.value,
                "clean_low": entry.clean.interval[0],
                "clean_high": entry.clean.interval[1],
                "robust": entry.robust.value,
                "robust_low": entry.robust.interval[0],
                "robust_high": entry.robust.interval[1],
                "num_samples": entry.clean.total,
                "front": entry in fronts[entry.source],
                "feasible": entry.feasible,
                "audit": entry.audit.status if entry.audit else "",
                "selection": entry.selection,
            }
            for entry in group.entries
        ]
    )
