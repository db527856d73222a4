"""Renders a study as one self-contained HTML page."""

from pathlib import Path

from markupsafe import Markup

from reports import facts, figures, tables
from reports.cost_table import cost_table
from reports.front_notes import front_frames
from reports.headline import caveats, headline
from reports.paper_table import paper_table
from reports.plots.members import member_frame, notable
from reports.plots.style import Drawn
from reports.provenance import provenance_frame
from reports.queries import trial_frame
from reports.rendering import ENVIRONMENT
from reports.replicates import seeds_table
from reports.study import Study
from reports.threat_table import threat_table
from reports.wording import radius


def write_page(study: Study, folder: Path) -> Path:
    """Write index.html with figures/ and tables/ beside it; the page needs neither.

    Returns:
        The path of index.html.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawings = figures.draw_all(study)
    svgs = {}
    for drawing in drawings:
        if isinstance(drawing, Drawn):
            svgs[drawing.name] = figures.save(drawing, folder / "figures")
        else:
            figures.remove(drawing, folder / "figures")
    _write_tables(study, folder / "tables")
    page = folder / "index.html"
    page.write_text(_render(study, drawings, svgs), encoding="utf-8")
    return page


def _render(study: Study, drawings: list[figures.Shown], svgs: dict[str, str]) -> str:
    shown = [(d, Markup(svgs[d.name])) for d in drawings if isinstance(d, Drawn)]
    return ENVIRONMENT.get_template("page.html.j2").render(
        name=study.name,
        description=str(study.facts.get("description") or ""),
        labels=facts.labels(study),
        state_note=facts.state_note(study),
        scale_note=facts.scale_note(study),
        facts=facts.facts(study),
        headline=headline(study),
        caveats=caveats(study),
        front=next((pair for pair in shown if pair[0].name == "front"), None),
        figures=[pair for pair in shown if pair[0].name != "front"],
        omitted=[d for d in drawings if not isinstance(d, Drawn)],
        comparisons=tables.comparison_table(study),
        seeds=seeds_table(study),
        threats=threat_table(study),
        trials=tables.trials_table(study),
        gradients=tables.gradient_table(study),
        failures=tables.failure_table(study),
        costs=cost_table(study),
        audits=tables.audit_table(study),
        audited=[trial for trial in study.trials if trial.audit],
        paper=paper_table(),
        gaps=tables.gaps(study),
        suites=[(split, facts.suite_note(suite), suite) for split, suite in study.suites.items()],
        reporting_split=str(study.reporting_split),
        epsilon=radius(study.facts.get("epsilon")),
        space_text=str(study.facts.get("space_text") or ""),
        environment=facts.environment(study),
    )


def _write_tables(study: Study, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    trial_frame(study).to_csv(folder / "trials.csv", index=False)
    members = member_frame(study, notable(study), study.reporting_split)
    members.to_csv(folder / "members.csv", index=False)
    for name, frame in front_frames(study).items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    provenance_frame(study).to_csv(folder / "provenance.csv", index=False)
    for table in (
        tables.comparison_table(study),
        tables.gradient_table(study),
        tables.audit_table(study),
        tables.failure_table(study),
        seeds_table(study),
        threat_table(study),
        cost_table(study),
    ):
        table.frame().to_csv(folder / f"{table.name}.csv", index=False)
