"""Renders several studies and single networks as one self-contained HTML page."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from markupsafe import Markup

from reports import compare_headline, figures
from reports.compare_queries import Compared
from reports.compare_tables import member_tables, merged, network_tables, pair_table
from reports.compare_wording import headings
from reports.facts import scale_note
from reports.plots import compared as plot
from reports.plots.style import RC, Drawn
from reports.rendering import ENVIRONMENT
from reports.study import Study
from reports.wording import ABSENT

_LONGEST = 80


def folder_name(names: Sequence[str]) -> str:
    """Names joined by `+`; a long list is cut and told apart by a hash of all."""
    joined = "+".join(names) if len(names) > 1 else f"network+{names[0]}"
    if len(joined) <= _LONGEST:
        return joined
    code = hashlib.sha256(joined.encode()).hexdigest()[:8]
    start = "+".join(names)[: _LONGEST - 24].rpartition("+")[0] or names[0][: _LONGEST - 24]
    return f"{start}+{len(names) - start.count('+') - 1}more-{code}"


def write_comparison(compared: Compared, folder: Path) -> Path:
    """Write index.html with figures/ and tables/ beside it; the page needs neither.

    Returns:
        The path of index.html.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("figures/compared-*.*"), *folder.glob("tables/pairs-*.csv")):
        old.unlink()  # an earlier comparison may have had more groups
    drawn = [(one, Markup(figures.save(one, folder / "figures"))) for one in _drawn(compared)]
    networks = network_tables(compared)
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    everything = merged(networks)
    everything.frame().to_csv(tables / "networks.csv", index=False)
    chosen = [pair_table(group, i + 1) for i, group in enumerate(compared.groups)]
    for table in chosen:
        if table.rows:
            table.frame().to_csv(tables / f"{table.name}.csv", index=False)
    page = folder / "index.html"
    text = ENVIRONMENT.get_template("compare.html.j2").render(
        names=compared.sources,
        studies=[_about(study) for study in compared.studies],
        headline=compare_headline.summary(compared),
        variants=compare_headline.variants(compared),
        apart=compare_headline.apart(compared),
        caveats=compare_headline.caveats(compared),
        figures=drawn,
        pairs=list(zip(headings(compared.groups), chosen, strict=True)),
        networks=networks,
        chips=[
            (column - 1, head, sorted(values, key=_given(compared)))
            for column, head, values in everything.chips
        ],
        members=[member_tables(compared, single.label) for single in compared.singles],
        scale_notes=list(dict.fromkeys(filter(None, map(scale_note, compared.studies)))),
    )
    page.write_text(text, encoding="utf-8")
    return page


def _drawn(compared: Compared) -> list[Drawn]:
    """A figure for each group; one network alone needs none."""
    styles = plot.looks_of(compared)
    with mpl.rc_context(RC):
        return [
            plot.draw(group, styles, f"compared-{i + 1}", heading)
            for i, (heading, group) in enumerate(
                zip(headings(compared.groups), compared.groups, strict=True)
            )
            if len(group.entries) > 1
        ]


def _given(compared: Compared) -> Callable[[str], int]:
    """Sorts studies as they were given, and leaves other values in their order."""
    order = {study.name: index for index, study in enumerate(compared.studies)}
    return lambda value: order.get(value, len(order))


def _about(study: Study) -> tuple[str, str]:
    facts = study.facts
    data, network = (str(facts.get(key) or ABSENT) for key in ("data_note", "model_note"))
    parts = [str(facts.get("description") or ""), f"Data: {data}.", f"Network: {network}."]
    if facts.get("complete") is not True:
        parts.append("This sweep has not finished; its numbers are preliminary.")
    return study.name, " ".join(filter(None, (part.strip() for part in parts)))
