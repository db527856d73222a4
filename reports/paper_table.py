"""The paper's own ablation beside the sweep's results."""

from importlib import resources
from io import StringIO

import pandas as pd

from reports.tables import Cell, Table
from reports.wording import short_method

_HEADS = {
    "clean": "Clean",
    "fgsm": "FGSM",
    "rfgsm": "RFGSM",
    "pgd30": "PGD30",
    "pgd50": "PGD50",
    "apgd10": "APGD10",
}
_DATA = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def paper_table() -> Table:
    """Table 3 of Liu et al. (2024): accuracy in percent under one attack at a time."""
    source = resources.files("reports").joinpath("paper/table3_ablation.csv")
    rows = pd.read_csv(StringIO(source.read_text(encoding="utf-8")))
    return Table(
        name="paper",
        title="Table 3 of the paper, percent",
        heads=("Data", "Network", "Defence", *_HEADS.values()),
        rows=tuple(_row(row) for _, row in rows.iterrows()),
        numeric=frozenset(range(3, 3 + len(_HEADS))),
    )


def _row(row: "pd.Series[float]") -> tuple[Cell, ...]:
    data, network, defence = (str(row[name]) for name in ("dataset", "architecture", "defense"))
    texts = (_DATA.get(data, data), network.upper(), short_method(defence))
    numbers = [float(row[name]) for name in _HEADS]
    return (
        *(Cell(text=text, sort=text) for text in texts),
        *(Cell(text=f"{value:.1f}", sort=value) for value in numbers),
    )
