"""What a tracker's pages show of a finished study: its front, and the networks to register.

Markdown with links as `pipeline.records.Showcase` has them.
"""

from collections.abc import Sequence
from urllib.parse import quote

from pipeline.records import BASELINE_ALIAS, NetworkVersion, Showcase, SplitName
from reports.ending import front_table, sentences
from reports.parameters import number, value_of
from reports.study import Study, TrialResult
from reports.wording import NBSP, percent, radius, setting, short_method, with_interval

CHOSEN, KNEE = "chosen", "knee"
JOINER = "\u2060"
"""Takes no room, and no line breaks at it."""


def showcase(study: Study) -> Showcase:
    """The study's note, front and networks; what the trust audit failed is not registered."""
    return Showcase(
        note=_note(study),
        front=tuple(trial.row.fingerprint for trial in study.front),
        models_note=_models_note(study),
        networks=tuple(
            NetworkVersion(
                fingerprint=trial.row.fingerprint,
                aliases=aliases,
                tags=_tags(study, trial),
                description=_description(study, trial, aliases),
            )
            for trial, aliases in _registered(study)
        ),
    )


def _registered(study: Study) -> list[tuple[TrialResult, tuple[str, ...]]]:
    """Baselines, the chosen setting and the knee, each once, with all that it is."""
    named: list[tuple[str, TrialResult | None]] = [
        (BASELINE_ALIAS + trial.row.label.replace(".", "-"), trial)
        for trial in study.judged
        if trial.row.role == "baseline"
    ]
    named += [(CHOSEN, study.best), (KNEE, study.knee)]
    found: dict[str, tuple[TrialResult, tuple[str, ...]]] = {}
    for alias, trial in named:
        if trial is not None and trial.believed:
            _, before = found.get(trial.row.fingerprint, (trial, ()))
            found[trial.row.fingerprint] = trial, (*before, alias)
    return list(found.values())


def _note(study: Study) -> str:
    space = str(study.facts.get("space_file") or "")
    links = [
        "[Report](file:report/index.html)",
        "[trials by robust accuracy](view:)",
        "[charts](charts:)",
        *([f"[search space](file:{quote(space)})"] if space else []),
        *(["[registered networks](models:)"] if _registered(study) else []),
    ]
    parts = [", ".join(links), " ".join(sentences(study))]
    rows = front_table(study)
    if rows:
        parts += [_table(study, rows)]
        parts += ["![Clean against robust accuracy](image:report/figures/front.svg)"]
    return "\n\n".join(parts) + "\n"


def _table(study: Study, rows: Sequence[tuple[str, ...]]) -> str:
    """Markdown; networks lead to their runs."""
    runs = {trial.row.label: trial.row.fingerprint for trial in study.trials}
    titles, *rest = rows
    lines = [titles, ("---",) * len(titles)]
    for name, *cells in rest:
        lines.append((f"[{name}](network:{runs[name]})" if name in runs else name, *cells))
    padded = [
        [cell if cell == "---" else _whole(cell) + NBSP * 2 for cell in line] for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def _whole(cell: str) -> str:
    """A cell whose numbers are not torn apart; MLflow's tables are narrow and have no margins."""
    joined = cell.replace(" (", f"{NBSP}(").replace(" = ", f"{NBSP}={NBSP}")
    return joined.replace("–", f"{JOINER}–{JOINER}")


def _tags(study: Study, trial: TrialResult) -> dict[str, str]:
    """Strategy, searched parameters and accuracies, under the names that the trials' runs have."""
    split = _split(study, trial)
    point = trial.point(split)
    assert point is not None, "a registered network was judged"
    values = {p.symbol: value_of(trial.row, p.path) for p in study.parameters}
    return {
        "network": trial.row.label,
        "strategy": trial.row.strategy,
        **{
            "lambda" if name == "λ" else name: number(value)
            for name, value in values.items()
            if value is not None
        },
        "clean": percent(point[0]).replace(NBSP, " "),
        "robust": percent(point[1]).replace(NBSP, " "),
        "audit": trial.audit.status if trial.audit else "not audited",
        "judged": _judged(study, trial, split),
        "fingerprint": trial.row.fingerprint,
    }


def _split(study: Study, trial: TrialResult) -> str:
    """Where a network's own numbers are from: the reporting split, if it was judged there."""
    split = study.reporting_split
    return split if trial.point(split) else SplitName.VALIDATION


def _judged(study: Study, trial: TrialResult, split: str) -> str:
    """By what, and on how many samples."""
    robust, suite = trial.robust(split), study.suites.get(split)
    total = robust.total if robust else 0
    name = suite.name if suite else "unknown"
    return f"{split}, n={total}, suite {name}, epsilon {radius(study.facts.get('epsilon'))}"


def _description(study: Study, trial: TrialResult, aliases: Sequence[str]) -> str:
    """Two sentences: what it is, and how far it can be trusted."""
    split = _split(study, trial)
    own = setting(trial, study.parameters) if trial.row.role != "baseline" else ""
    what = f"{trial.row.label}: {short_method(trial.row.method)}{f', {own}' if own else ''}."
    clean, robust = with_interval(trial.clean(split)), with_interval(trial.robust(split))
    parts = [
        what,
        f"{clean} on clean {split} images, {robust} attacked ({_judged(study, trial, split)}).",
    ]
    if CHOSEN in aliases:
        floor = "" if study.floor is None else f" with at least {percent(study.floor)} clean"
        parts.append(f"Chosen: the most robust of the search{floor}, on validation.")
    if KNEE in aliases:
        parts.append("Knee: the best trade-off of the front, on validation.")
    if trial.audit:
        parts.append(f"Trust audit: {trial.audit.status}.")
    return " ".join(parts)


def _models_note(study: Study) -> str:
    return (
        f"Networks of the sweep [{study.name}](file:report/index.html): its baselines, the chosen "
        "setting (the most robust of the search), and the knee of its front (the best trade-off). "
        "What fails the trust audit is left out. A version holds checkpoint and configuration."
    )
