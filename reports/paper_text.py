"""The paper's tables as rows of text: for the page, as Markdown, LaTeX and CSV."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from reports.paper_tables import PaperTable
from reports.paper_values import Cell, Value
from reports.provenance import mark, notes, redo_command
from reports.tables import Cell as Shown
from reports.tables import Table

DASH = "–"
WHOSE = "Number"
"""Head of the column that says whose number a line has."""
OURS, VARIANT, PAPER, DIFFERENCE = (
    "ours",
    "ours, epoch chosen on test images",
    "paper",
    "difference",
)
_LATEX = {
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "γ": r"$\gamma$",
    "ε": r"$\varepsilon$",
    "∈": r"$\in$",
    "*": r"$^{*}$",
    "†": r"$^{\dagger}$",
}


def as_table(table: PaperTable) -> Table:
    """The table for a page: up to four lines a row, sortable, reasons as notes."""
    rows = []
    for names, label, cells in _lines(table):
        heads = [Shown(text=text, sort=text) for text in (*names, label)]
        rows.append((*heads, *(_shown(table, label, cell) for cell in cells)))
    stub = len(table.stub) + 1
    return Table(
        name=table.name,
        title=table.title,
        heads=(*table.stub, WHOSE, *table.heads),
        rows=tuple(rows),
        numeric=frozenset(range(stub, stub + len(table.heads))),
    )


def markdown(table: PaperTable) -> str:
    """The table as GitHub shows it, with its notes."""
    heads = [*table.stub, WHOSE, *table.heads]
    lines = [f"**{table.title}** ({_unit(table)})", ""]
    lines += [f"| {' | '.join(heads)} |", f"|{'|'.join(' --- ' for _ in heads)}|"]
    for names, label, cells in _lines(table):
        texts = [*names, label, *(_plain(table, label, cell) for cell in cells)]
        lines.append(f"| {' | '.join(texts)} |")
    lines += ["", *(f"- {note}" for note in (*table.notes, *reasons(table)))]
    return "\n".join(lines) + "\n"


def latex(table: PaperTable) -> str:
    """A `tabular` for the booktabs package inside a `table`."""
    stub = len(table.stub) + 1
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        f"\\caption{{{_escaped(table.title)} ({_escaped(_unit(table))}).}}",
        f"\\begin{{tabular}}{{{'l' * stub}{'r' * len(table.heads)}}}",
        "\\toprule",
        " & ".join(_escaped(head) for head in (*table.stub, WHOSE, *table.heads)) + r" \\",
        "\\midrule",
    ]
    for names, label, cells in _lines(table):
        texts = [*names, label, *(_plain(table, label, cell) for cell in cells)]
        lines.append(" & ".join(_escaped(text) for text in texts) + r" \\")
    lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
    return "\n".join(lines) + "\n"


def frame(table: PaperTable) -> pd.DataFrame:
    """A row a cell: fractions (or seconds), interval, samples, seeds, the paper's, and why not."""
    rows: list[dict[str, Any]] = []
    for names, cells in table.rows:
        for head, cell in zip(table.heads, cells, strict=True):
            row: dict[str, Any] = {"table": table.name, "row": ", ".join(names), "column": head}
            for kind, value in (("ours", cell.ours), ("variant", cell.variant)):
                row |= {
                    kind: value.mean if value else None,
                    f"{kind}_low": value.low if value else None,
                    f"{kind}_high": value.high if value else None,
                    f"{kind}_num_samples": value.num_samples if value else None,
                    f"{kind}_num_seeds": value.num_seeds if value else None,
                    f"{kind}_stale": "; ".join(value.stale) if value else None,
                }
            row |= {
                "paper": cell.printed,
                "difference": cell.difference,
                "why": cell.why,
                "sweep": cell.source,
            }
            rows.append(row)
    return pd.DataFrame(rows)


def _lines(table: PaperTable) -> Iterator[tuple[tuple[str, ...], str, tuple[Cell, ...]]]:
    """What each row of the paper's becomes: names, label of the line, cells."""
    for names, cells in table.rows:
        yield names, OURS, cells
        if any(cell.variant for cell in cells):
            yield names, VARIANT, cells
        yield names, PAPER, cells
        if any(cell.difference is not None for cell in cells):
            yield names, DIFFERENCE, cells


def _shown(table: PaperTable, label: str, cell: Cell) -> Shown:
    value = _number(label, cell)
    note = ""
    if label == OURS:
        note = _interval(table, cell.ours) if cell.ours else _short(cell.why)
    if label == VARIANT and cell.variant:
        note = _interval(table, cell.variant)
    return Shown(text=_marked(table, label, cell), sort="" if value is None else value, note=note)


def _short(why: str) -> str:
    """A reason as a cell has room for; the page lists them whole."""
    return why.partition(":")[0]


def _plain(table: PaperTable, label: str, cell: Cell) -> str:
    text = _marked(table, label, cell)
    value = {OURS: cell.ours, VARIANT: cell.variant}.get(label)
    return f"{text} ({_interval(table, value)})" if value else text


def _number(label: str, cell: Cell) -> float | None:
    if label == PAPER:
        return cell.printed
    if label == DIFFERENCE:
        return cell.difference
    value = cell.ours if label == OURS else cell.variant
    return value.mean if value else None


def _text(table: PaperTable, label: str, value: float | None) -> str:
    if value is None:
        return DASH
    sign = "+" if label == DIFFERENCE else ""
    text = f"{100 * value:{sign}.2f}" if table.unit == "percent" else f"{value:{sign}.2f}"
    return text.replace("-", "−")


def _marked(table: PaperTable, label: str, cell: Cell) -> str:
    """The number, marked where it is stale."""
    own = cell.variant if label == VARIANT else cell.ours
    stale = label != PAPER and own is not None and bool(own.stale)
    return mark(_text(table, label, _number(label, cell)), stale=stale)


def _interval(table: PaperTable, value: Value) -> str:
    scale = 100 if table.unit == "percent" else 1
    if value.num_seeds > 1:
        return f"± {scale * (value.high - value.mean):.2f}, {value.num_seeds} seeds"
    return f"{scale * value.low:.1f}–{scale * value.high:.1f}"


def _unit(table: PaperTable) -> str:
    if table.unit != "percent":
        return "median and range over epochs"
    return (
        "accuracy in percent; in brackets the 95 % Wilson interval, or mean and standard deviation "
        "over seeds"
    )


def reasons(table: PaperTable) -> list[str]:
    """Why cells are empty, and why numbers are not compared; each reason once."""
    found = [cell.why for cell in table.cells if cell.ours is None and cell.why]
    unlike = [cell.source for cell in table.cells if cell.ours is not None and not cell.comparable]
    if table.unit == "percent":
        found += [
            f"no difference for the sweep {name}: its data or its network is not the paper's"
            for name in unlike
        ]
    stale: dict[str, list[str]] = {}
    for cell in table.cells:
        values = [value for value in (cell.ours, cell.variant) if value]
        stale.setdefault(cell.source, []).extend(r for value in values for r in value.stale)
    return [*dict.fromkeys(found), *notes(stale, redo_command(table.place))]


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
