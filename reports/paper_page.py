"""One page for the whole paper: every table and figure, ours beside the printed ones."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
from markupsafe import Markup

from reports import facts, figures, paper_text
from reports.paper_tables import DATA, NETWORKS, Library, PaperTable, all_tables, comparable
from reports.plots.style import RC, Drawn
from reports.rendering import ENVIRONMENT
from reports.study import Study
from reports.tables import Table


@dataclass(frozen=True, kw_only=True)
class PaperFigure:
    """A figure of the paper: where it comes from, and which of a study's figures it is."""

    name: str
    title: str
    places: tuple[str, ...]
    drawings: tuple[str, ...]
    """Names in `figures.FIGURES`."""


FIGURES = (
    PaperFigure(
        name="fig1",
        title="Fig. 1: Random against adversarial perturbations",
        places=("fig1/cifar10/vgg11", "fig1/cifar100/vgg11"),
        drawings=("epsilon",),
    ),
    PaperFigure(
        name="fig3",
        title="Fig. 3: Accuracy and gradients against λ",
        places=("fig3/cifar10/wrn16",),
        drawings=("accuracy_by_parameter", "gradients_by_parameter"),
    ),
    PaperFigure(
        name="fig4",
        title="Fig. 4: Distribution of gradient components",
        places=("fig4/cifar10/wrn16", "fig4/cifar100/wrn16"),
        drawings=("distribution",),
    ),
    PaperFigure(
        name="fig5",
        title="Fig. 5: Gradients as pictures",
        places=("fig5/cifar10/wrn16",),
        drawings=("heatmaps",),
    ),
    PaperFigure(
        name="fig6",
        title="Fig. 6: Accuracy and gradients against λ, CIFAR-100",
        places=("fig6/cifar100/wrn16",),
        drawings=("accuracy_by_parameter", "gradients_by_parameter"),
    ),
)


@dataclass(frozen=True, kw_only=True)
class ShownTable:
    """A table of the page, and what stands below it."""

    source: PaperTable
    table: Table
    reasons: list[str]


@dataclass(frozen=True, kw_only=True)
class ShownFigure:
    """A figure of the page: its drawings by study, or why there are none."""

    source: PaperFigure
    panels: list[tuple[str, list[tuple[Drawn, Markup]]]]
    reasons: list[str]


def write_paper_page(studies: Iterable[Study], folder: Path) -> Path:
    """Write index.html, tables/ (Markdown, LaTeX, CSV) and figures/ into the folder.

    Returns:
        The path of index.html.
    """
    library = Library.of(studies)
    folder.mkdir(parents=True, exist_ok=True)
    tables = [_table(table, folder / "tables") for table in all_tables(library)]
    drawn = [_figure(figure, library, folder / "figures") for figure in FIGURES]
    used = list(dict.fromkeys(library.chosen.values()))
    page = folder / "index.html"
    page.write_text(
        ENVIRONMENT.get_template("paper.html.j2").render(
            tables=tables,
            figures=drawn,
            filled=sum(shown.source.filled for shown in tables),
            total=sum(len(shown.source.cells) for shown in tables),
            studies=[_line(study) for study in used],
            shrunk=[study.name for study in used if study.facts.get("scale")],
        ),
        encoding="utf-8",
    )
    return page


def _line(study: Study) -> tuple[str, str, str]:
    """Name, what it stands for, and what it is."""
    place = str(study.facts["paper"])
    kind, data, network = place.split("/")
    marks = facts.labels(study)
    if study.facts.get("scale"):
        marks = [f"scale {study.facts['scale']}", *marks]
    if not comparable(study, place):
        marks = ["not the paper's data or network", *marks]
    return study.name, f"{kind}: {NETWORKS[network]} on {DATA[data]}", ", ".join(marks)


def _table(table: PaperTable, folder: Path) -> ShownTable:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{table.name}.md").write_text(paper_text.markdown(table), encoding="utf-8")
    (folder / f"{table.name}.tex").write_text(paper_text.latex(table), encoding="utf-8")
    paper_text.frame(table).to_csv(folder / f"{table.name}.csv", index=False)
    return ShownTable(
        source=table, table=paper_text.as_table(table), reasons=paper_text.reasons(table)
    )


def _figure(figure: PaperFigure, library: Library, folder: Path) -> ShownFigure:
    panels, reasons = [], []
    for place in figure.places:
        _, data, network = place.split("/")
        title = f"{NETWORKS[network]} on {DATA[data]}"
        study = library.study(place)
        if study is None:
            command = f"python -m pipeline.sweep --space search_spaces/paper/{figure.name}"
            reasons.append(f"{title}: not run: {command}")
            continue
        if not comparable(study, place):
            title += f", as far as the sweep {study.name} stands for it: {_data(study)}"
        shown = []
        with mpl.rc_context(RC):
            drawings = [figures.FIGURES[name](study) for name in figure.drawings]
        for drawing in drawings:
            if isinstance(drawing, Drawn):
                named = replace(drawing, name=f"{figure.name}-{data}-{drawing.name}")
                shown.append((named, Markup(figures.save(named, folder))))
            else:
                reasons.append(f"{title}: {drawing.title}: {drawing.reason}")
        if shown:
            panels.append((title, shown))
    return ShownFigure(source=figure, panels=panels, reasons=reasons)


def _data(study: Study) -> str:
    return f"{study.facts.get('data_note') or 'other data'}; {study.facts.get('model_note') or ''}"
