"""The figures of a report: a table of them, and how one is written to files."""

import re
from collections.abc import Callable
from html import escape
from io import StringIO
from pathlib import Path

import matplotlib as mpl

from reports.plots import (
    breakdown,
    cost,
    epsilon,
    front,
    gradients,
    hypervolume,
    map,
    members,
    sweep,
    training,
    widths,
)
from reports.plots.style import RC, Drawn, Omitted
from reports.study import Study

Shown = Drawn | Omitted
Drawing = Callable[[Study], Shown]
FIGURES: dict[str, Drawing] = {
    "front": front.draw,
    "accuracy_by_parameter": sweep.draw_accuracy,
    "gradients_by_parameter": sweep.draw_gradients,
    "map": map.draw,
    "distribution": gradients.draw_distribution,
    "heatmaps": gradients.draw_heatmaps,
    "training": training.draw,
    "members": members.draw,
    "breakdown": breakdown.draw,
    "hypervolume": hypervolume.draw,
    "epsilon": epsilon.draw,
    "widths": widths.draw,
    "cost": cost.draw,
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def draw_all(study: Study) -> list[Shown]:
    """Every figure of the table, in its order; those that do not apply say why."""
    with mpl.rc_context(RC):
        return [draw(study) for draw in FIGURES.values()]


def save(drawn: Drawn, folder: Path) -> str:
    """Write NAME.png, NAME.svg and NAME.csv; equal input gives equal files.

    Returns:
        The figure as SVG markup to put inside an HTML page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(RC):
        buffer = StringIO()
        drawn.figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
        png = folder / f"{drawn.name}.png"
        drawn.figure.savefig(png, dpi=160, metadata={"Software": None})
    markup = buffer.getvalue()
    (folder / f"{drawn.name}.svg").write_text(markup, encoding="utf-8")
    drawn.data.to_csv(folder / f"{drawn.name}.csv", index=False)
    return inline_svg(markup, drawn)


def remove(omitted: Omitted, folder: Path) -> None:
    """Delete what an earlier build of the same report wrote for the figure."""
    for kind in ("png", "svg", "csv"):
        (folder / f"{omitted.name}.{kind}").unlink(missing_ok=True)


def inline_svg(markup: str, drawn: Drawn) -> str:
    """The svg element alone: ids unique in the page, tips attached, sized by the page."""
    svg = markup[markup.index("<svg") :]
    svg = re.sub(r"\s(xmlns(:\w+)?|version)=\"[^\"]*\"", "", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"^<svg([^>]*?) width=\"[^\"]*\"", r"<svg\1", svg)
    svg = re.sub(r"^<svg([^>]*?) height=\"[^\"]*\"", r"<svg\1", svg)
    svg = re.sub(r"\bid=\"", f'id="{drawn.name}-', svg)
    svg = re.sub(r"(href=\"|url\()#", rf"\1#{drawn.name}-", svg)
    for gid, tip in drawn.tips.items():
        marked = f'id="{drawn.name}-{gid}"'
        text = escape(tip)
        svg = svg.replace(marked, f'{marked} data-tip="{text}" tabindex="0" role="img"', 1)
    title = escape(drawn.title)
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
