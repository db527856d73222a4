"""The tables of a comparison: all networks in their groups, pairs, and single networks' members."""

from dataclasses import replace

from reports.compare_queries import ALONE, LAST, Compared, Entry, Group, Pair
from reports.compare_wording import chosen_by, headings, of_entry
from reports.parameters import is_number, number
from reports.provenance import mark
from reports.tables import Cell, Table
from reports.unions import CLEAN, Accuracy
from reports.wording import NBSP, duration, interval, p_value, signed_points

_DASH = "–"
_HEADS = (
    *("Network", "Study", "Clean %", "Robust %", "Against the highest", "Strategy", "λ", "n"),
    *("Audit", "Training"),
)


def network_tables(compared: Compared) -> list[tuple[str, Table]]:
    """A table for each group, under its heading: rows of one may be compared with each other."""
    return [
        (
            heading,
            Table(
                name="networks",
                title="All networks",
                heads=_HEADS,
                rows=tuple(_row(entry, group) for entry in _by_robust(group)),
                numeric=frozenset({2, 3, 4, 6, 7, 9}),
                filtered=(1, 5),
            ),
        )
        for heading, group in zip(headings(compared.groups), compared.groups, strict=True)
    ]


def merged(tables: list[tuple[str, Table]]) -> Table:
    """All rows in one table, with the group as the first column."""
    first = tables[0][1]
    rows = tuple((_text(h.replace(NBSP, " ")), *row) for h, table in tables for row in table.rows)
    return replace(first, heads=("Judged on", *first.heads), rows=rows,
                   filtered=tuple(i + 1 for i in first.filtered))  # fmt: skip


def pair_table(group: Group, index: int) -> Table:
    """What the studies chose and the single networks, two by two, on the same images."""
    return Table(
        name=f"pairs-{index}",
        title="Chosen settings and single networks, pair by pair",
        heads=(
            *("First", "Second", "Images", "Robust, difference in points", "Adjusted p"),
            *("Clean, difference in points", "Robust accuracy"),
        ),
        rows=tuple(_pair(pair) for pair in group.choices),
        numeric=frozenset({2, 3, 4, 5}),
    )


def member_tables(compared: Compared, source: str) -> list[tuple[str, Table]]:
    """Every complete set of a single network, attack by attack, under its heading."""
    titles = dict(zip((g.terms for g in compared.groups), headings(compared.groups), strict=True))
    found = []
    for label, terms, result, stale in compared.sets:
        if label != source:
            continue
        rows = [
            (
                _text("no attack" if name == CLEAN else name),
                *_accuracy(result.member(name), stale=name in stale),
            )
            for name in map(str, result.outcomes.columns)
        ]
        table = Table(
            name=f"members-{compared.sources.index(source)}",
            title=f"{source}, attack by attack",
            heads=("Attack", "Accuracy %", "n"),
            rows=(*rows, (_text("all of them"), *_accuracy(result.robust, stale=bool(stale)))),
            numeric=frozenset({1, 2}),
        )
        found.append((titles[terms], table))
    return found


def _by_robust(group: Group) -> list[Entry]:
    return sorted(group.entries, key=lambda e: (-e.robust.value, -e.clean.value))


def _row(entry: Entry, group: Group) -> tuple[Cell, ...]:
    notes = [] if entry.selection == LAST else [chosen_by(entry)]
    notes += ["chosen by its study"] if entry.chosen and entry.study != ALONE else []
    notes += [] if entry.feasible else ["breaks a constraint"]
    weight, seconds = entry.sparsity_weight, entry.training_s
    audit = entry.audit
    return (
        Cell(text=entry.label, sort=entry.label, note="; ".join(notes)),
        _text(entry.study),
        _accuracy(entry.clean, stale=CLEAN in entry.stale)[0],
        _accuracy(entry.robust, stale=bool(entry.stale))[0],
        _against(entry, group),
        _text(entry.strategy),
        Cell(text=number(weight), sort=float(weight)) if is_number(weight) else _NONE,
        _accuracy(entry.robust)[1],
        _text(audit.status) if audit else Cell(text="none", sort=""),
        _NONE if not seconds else Cell(text=duration(seconds), sort=seconds),
    )


def _against(entry: Entry, group: Group) -> Cell:
    if entry is group.leader:
        return Cell(text="highest" if len(group.entries) > 1 else "alone here", sort=0.0)
    own = (pair for pair in group.behind if pair.first.fingerprint == entry.fingerprint)
    pair = next(own, None)
    if pair is None:
        return Cell(text="same network", sort=0.0) if group.leader else _NONE
    cell = _difference(pair.robust.difference, pair.robust.low, pair.robust.high)
    verdict = "" if pair.distinguishable else "; not distinguishable"
    if not group.ranked(entry):
        verdict += "; not ranked"
    return replace(cell, note=f"{cell.note}{verdict}")


def _pair(pair: Pair) -> tuple[Cell, ...]:
    robust, clean = pair.robust, pair.clean
    verdict = "not distinguishable"
    if pair.distinguishable:
        verdict = "the first is higher" if robust.difference > 0 else "the second is higher"
    return (
        _text(of_entry(pair.first)),
        _text(of_entry(pair.second)),
        Cell(text=str(robust.total), sort=robust.total),
        _difference(robust.difference, robust.low, robust.high),
        Cell(text=p_value(pair.adjusted_p), sort=pair.adjusted_p),
        _difference(clean.difference, clean.low, clean.high),
        _text(verdict),
    )


def _difference(value: float, low: float, high: float) -> Cell:
    bounds = f"{signed_points(low)} to {signed_points(high)}"
    return Cell(text=signed_points(value), sort=100 * value, note=bounds)


def _accuracy(accuracy: Accuracy | None, *, stale: bool = False) -> tuple[Cell, Cell]:
    if accuracy is None:
        return _NONE, _NONE
    note = interval(*accuracy.interval)
    text = mark(f"{100 * accuracy.value:.1f}", stale=stale)
    shown = Cell(text=text, sort=accuracy.value, note=note)
    return shown, Cell(text=str(accuracy.total), sort=accuracy.total)


def _text(text: str) -> Cell:
    return Cell(text=text, sort=text)


_NONE = Cell(text=_DASH, sort="")
