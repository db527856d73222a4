"""The table of what training and evaluation cost."""

import math

from reports.costs import COLUMNS, cost_frame
from reports.study import Study
from reports.tables import Cell, Table
from reports.wording import NBSP

_HEADS = {
    "networks": "Networks",
    "epochs": "Epochs",
    "median_s": "Seconds an epoch, median",
    "ratio": "Ratio to no defence",
    "forward": "Forward passes an image",
    "backward": "Backward passes an image",
}


def cost_table(study: Study) -> Table:
    """Seconds an epoch, their spread, and passes of the evaluation, by strategy."""
    frame = cost_frame(study)
    rows = []
    for values in frame.itertuples(index=False, name=None):
        found = dict(zip(COLUMNS, values, strict=True))
        cells = {name: _cell(float(found[name])) for name in _HEADS}
        spread = f"{_seconds(found['lower_quartile_s'])}–{_seconds(found['upper_quartile_s'])}"
        median = float(found["median_s"])
        cells["median_s"] = Cell(text=_seconds(median), sort=median, note=spread)
        name = str(found["strategy"])
        rows.append((Cell(text=name, sort=name), *cells.values()))
    return Table(
        name="cost",
        title="What training and evaluation cost",
        heads=("Strategy", *_HEADS.values()),
        rows=tuple(rows),
        numeric=frozenset(range(1, len(_HEADS) + 1)),
    )


def _seconds(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}".replace(",", NBSP)


def _cell(value: float) -> Cell:
    if not math.isfinite(value):
        return Cell(text="–", sort="")
    return Cell(text=_seconds(value), sort=value)
