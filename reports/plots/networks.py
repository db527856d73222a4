"""Which networks are compared in detail, and how one is told from another, also in grey."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.records import SplitName
from reports.plots.members import notable
from reports.plots.style import looks
from reports.study import Study, TrialResult

_DASHES = (
    "-",
    (0, (5, 2)),
    (0, (1.5, 1.5)),
    (0, (6, 2, 1.5, 2)),
    (0, (9, 3)),
    (0, (3, 1, 1, 1, 1, 1)),
)
_SPARE = (
    *(("#56B4E9", "v"), ("#882255", ">"), ("#999933", "<"), ("#44AA99", "h"), ("#555555", "d")),
    *(("#332288", "*"), ("#AA4499", "p"), ("#661100", "H")),
)


@dataclass(frozen=True, kw_only=True)
class NetworkLook:
    """Colour, marker and dashes of one network's curve."""

    colour: str
    marker: str
    dash: str | tuple[float, tuple[float, ...]]


def compared(study: Study, most: int) -> list[TrialResult]:
    """Baselines, best and knee, then the front, as many as stay readable."""
    named = [trial for trial in (study.best, study.knee) if trial is not None]
    baselines = [trial for trial in study.baselines if trial.complete]
    listed = dict.fromkeys([*baselines, *named, *notable(study)])
    kept = list(listed)[:most]
    return [trial for trial in notable(study) if trial in kept]


def network_looks(study: Study, trials: Sequence[TrialResult]) -> dict[str, NetworkLook]:
    """Looks by label: a strategy's first network has the strategy's, others have their own."""
    own, used = looks(study), set()
    spare = iter(_SPARE)
    found = {}
    for index, trial in enumerate(trials):
        look = own[trial.row.strategy]
        colour, marker = look.colour, look.marker
        if trial.row.strategy in used:
            colour, marker = next(spare, ("#888888", "."))
        used.add(trial.row.strategy)
        dash = _DASHES[index % len(_DASHES)]
        found[trial.row.label] = NetworkLook(colour=colour, marker=marker, dash=dash)
    return found


def rows_of_a_split(
    study: Study,
    trials: Sequence[TrialResult],
    rows: Callable[[TrialResult, str], list[dict[str, Any]]],
    columns: Sequence[str],
) -> pd.DataFrame:
    """Rows of the reporting split, or of the first other one that has any; none without."""
    for split in dict.fromkeys([study.reporting_split, SplitName.TEST, SplitName.VALIDATION]):
        found = [row for trial in trials for row in rows(trial, split)]
        if found:
            return pd.DataFrame(found, columns=list(columns))
    return pd.DataFrame(columns=list(columns))


def number_of_images(data: pd.DataFrame) -> str:
    """Images behind the rows, for a sentence: `500`, or `100 to 500`."""
    sizes = sorted(set(data["num_samples"]))
    return f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"


def left_out(study: Study, shown: Sequence[TrialResult]) -> str:
    """A sentence on networks that a figure has no room for; empty where it shows all."""
    total = len(notable(study))
    if len(shown) >= total:
        return ""
    return f" Shown are {len(shown)} of {total} networks; the data file has all."
