"""Event frames under each threat model: what nothing but the model does, and what attacks do."""

from collections.abc import Sequence

from reports.evidence import StoredAttack, union
from reports.provenance import mark
from reports.study import Study, TrialResult
from reports.tables import Cell, Table
from reports.unions import CLEAN, Accuracy
from reports.wording import interval, radius

_Column = tuple[str, float]
"""A threat model and its radius or flips; 0 for its control, without attack."""


def threat_table(study: Study) -> Table:
    """Accuracy by network and threat model; no rows where the suite knows one model only."""
    split = study.reporting_split
    judged = {
        trial.row.label: trial.evidence[split].of_suite
        for trial in study.trials
        if split in trial.evidence and trial.point(split)
    }
    headline, columns = _columns(study, judged)
    heads = ["Network", "Clean %", *(_head(*column) for column in columns)]
    rows = [
        _row(trial, split, judged[trial.row.label], headline, columns)
        for trial in study.trials
        if trial.row.label in judged
    ]
    return Table(
        name="threats",
        title="Threat models",
        heads=tuple(heads),
        rows=tuple(rows) if len({threat for threat, _ in columns}) > 1 else (),
        numeric=frozenset(range(1, len(heads))),
    )


def _columns(
    study: Study, judged: dict[str, tuple[StoredAttack, ...]]
) -> tuple[_Column, list[_Column]]:
    """The column of the suite's own union, and all of them: by threat model, its own first."""
    counted = set(study.suites[study.reporting_split].members)
    attacks = [attack for found in judged.values() for attack in found if attack.attack != CLEAN]
    own = [attack for attack in attacks if attack.member in counted]
    threat = own[0].threat if own else ""
    headline = (threat, max((attack.epsilon for attack in own), default=0.0))
    found = dict.fromkeys(
        (a.threat, a.epsilon) for a in attacks if a.threat != threat or a.epsilon == 0
    )
    order = list(dict.fromkeys([threat, *(name for name, _ in found)]))
    return headline, sorted({headline, *found}, key=lambda c: (order.index(c[0]), c[1]))


def _head(threat: str, epsilon: float) -> str:
    if epsilon == 0:
        return f"{threat}, no attack"
    size = f"{epsilon:.0f} flips" if threat == "binary" else f"ε = {radius(epsilon)}"
    return f"{threat}, {size}"


def _row(
    trial: TrialResult,
    split: str,
    found: Sequence[StoredAttack],
    headline: _Column,
    columns: Sequence[_Column],
) -> tuple[Cell, ...]:
    cells = [
        Cell(text=trial.row.label, sort=trial.row.label),
        _cell(trial.clean(split), stale=trial.is_stale(split)),
    ]
    for threat, epsilon in columns:
        if (threat, epsilon) == headline:
            cells.append(_cell(trial.robust(split), stale=trial.is_stale(split)))
            continue
        within = [a for a in found if a.threat == threat and a.epsilon <= epsilon]
        cells.append(_cell(_union(trial, split, within), stale=trial.is_stale(split)))
    return tuple(cells)


def _union(trial: TrialResult, split: str, attacks: Sequence[StoredAttack]) -> Accuracy | None:
    """Of all samples of the split's result; None where one of them was not judged."""
    result = trial.splits[split]
    samples = list(range(result.expected)) if result else []
    complete = all(attack.samples >= set(samples) for attack in attacks)
    return union(attacks, samples) if attacks and samples and complete else None


def _cell(accuracy: Accuracy | None, *, stale: bool) -> Cell:
    if accuracy is None:
        return Cell(text="–", sort="")
    text = mark(f"{100 * accuracy.value:.1f}", stale=stale)
    return Cell(text=text, sort=accuracy.value, note=interval(*accuracy.interval))
