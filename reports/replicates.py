"""Networks that differ in the seed alone: mean and spread over trainings."""

import numpy as np

from reports.provenance import mark
from reports.spread import Spread, spread
from reports.study import Study, TrialResult
from reports.tables import Cell, Table
from reports.unions import CLEAN


def seeds_table(study: Study) -> Table:
    """Every setting that was trained with several seeds; empty where none was."""
    split = study.reporting_split
    rows = []
    for trial in study.trials:
        alike = study.alike(trial)
        if len(alike) < 2 or trial.row.replicate_of:
            continue
        cells = [Cell(text=trial.row.label, sort=trial.row.label)]
        for kind in ("clean", "robust"):
            found = spread(_accuracy(network, kind, split) for network in alike)
            of = CLEAN if kind == "clean" else None
            cells += _cells(found, stale=any(network.is_stale(split, of) for network in alike))
        rows.append((*cells, Cell(text=str(len(alike)), sort=len(alike))))
    heads = ("Setting", "Clean %", "each", "Robust %", "each", "Seeds")
    return Table(
        name="seeds",
        title="The same setting, trained with several seeds",
        heads=heads,
        rows=tuple(rows),
        numeric=frozenset({1, 3, 5}),
    )


def _accuracy(trial: TrialResult, kind: str, split: str) -> float | None:
    accuracy = trial.clean(split) if kind == "clean" else trial.robust(split)
    return accuracy.value if accuracy else None


def _cells(found: Spread | None, *, stale: bool) -> list[Cell]:
    """Mean with deviation, and the single values."""
    if found is None:
        return [Cell(text="–", sort=""), Cell(text="–", sort="")]
    deviation = "" if np.isnan(found.deviation) else f" ± {100 * found.deviation:.1f}"
    each = ", ".join(f"{100 * value:.1f}" for value in found.values)
    return [
        Cell(text=mark(f"{100 * found.mean:.1f}{deviation}", stale=stale), sort=found.mean),
        Cell(text=each, sort=each),
    ]
