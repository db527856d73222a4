"""What a finished sweep says in a terminal: the result in sentences, its front, what to do next."""

import shlex
from collections.abc import Sequence

from pipeline.records import SplitName
from reports.headline import headline
from reports.statistics import compare, holm
from reports.study import Study, TrialResult, outcomes
from reports.wording import NBSP, interval, percent, setting, short_method

MOST = 12
"""Rows of the front that are shown."""
SEEDS = 3
SAMPLES = 100


def sentences(study: Study) -> list[str]:
    """The result, and which networks of the front it cannot tell from the chosen one."""
    return [text.replace(NBSP, " ") for text in [*headline(study), *_level(study)]]


def caption(study: Study) -> str:
    """What the table's numbers are."""
    split = study.reporting_split
    judged = [robust.total for trial in study.trials if (robust := trial.robust(split))]
    count = max(judged, default=0)
    return (
        f"accuracies in % on {count} {split} images, with 95 % intervals; front: of all networks, "
        f"on {SplitName.VALIDATION} images"
    )


def front_table(study: Study) -> list[tuple[str, ...]]:
    """What was reported on, the most robust first, below a row of titles; `caption` says more."""
    split = study.reporting_split
    judged = [t for t in study.trials if t.point(split) and not t.row.replicate_of]
    judged.sort(key=lambda trial: trial.point(split) or (0, 0), reverse=True)
    judged.sort(key=lambda trial: (trial.point(split) or (0, 0))[1], reverse=True)
    if not judged:
        return []
    titles = ("network", "method", "setting", "clean", "robust", "audit", "remarks")
    shown = judged
    if len(judged) > MOST:
        wanted = (study.best, *study.front, *study.baselines)
        shown = [trial for trial in judged if trial in wanted][:MOST]
    rows = [titles, *(_row(study, trial) for trial in shown)]
    if len(judged) > len(shown):
        rows.append((f"and {len(judged) - len(shown)} more", *[""] * (len(titles) - 1)))
    return [tuple(cell.replace(NBSP, " ") for cell in row) for row in rows]


def _row(study: Study, trial: TrialResult) -> tuple[str, ...]:
    split = study.reporting_split
    marks = []
    if trial is study.best:
        floor = "" if study.floor is None else f" with clean at least {percent(study.floor)}"
        marks.append(f"best of the search{floor}")
    if trial is study.knee:
        marks.append("best trade-off")
    if trial in study.front:
        marks.append("front")
    return (
        trial.row.label,
        short_method(trial.row.method),
        setting(trial, study.parameters),
        *(
            "" if found is None else f"{100 * found.value:.1f} ({interval(*found.interval)})"
            for found in (trial.clean(split), trial.robust(split))
        ),
        "" if trial.audit is None else trial.audit.status,
        "; ".join(marks),
    )


def _level(study: Study) -> list[str]:
    """The searched networks of the front whose robust accuracy is not the chosen one's rival."""
    best, split = study.best, study.reporting_split
    if best is None or not best.point(split):
        return []
    others = [
        trial
        for trial in study.front
        if trial is not best and trial.row.role != "baseline" and trial.point(split)
    ]
    own = outcomes(best, split, attacked=True)
    values = holm([compare(own, outcomes(o, split, attacked=True)).p_value for o in others])
    names = [o.row.label for o, p in zip(others, values, strict=True) if p >= 0.05]
    if not names:
        return []
    return [
        f"Of the front, {_listed(names)} {'is' if len(names) == 1 else 'are'} not distinguishable "
        f"from {best.row.label} in robust accuracy (McNemar, Holm-adjusted)."
    ]


def _listed(names: list[str]) -> str:
    shown = names if len(names) <= 6 else [*names[:5], f"{len(names) - 5} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def next_steps(study: Study, again: Sequence[str]) -> list[tuple[str, str]]:
    """What a careful reader would do next, each with the command that does it.

    Args:
        study: Finished.
        again: The command line that resumes the sweep, `--resume` last.
    """
    best = study.best
    if best is None:
        place = shlex.quote(study.place)
        return [("see why nothing was chosen", f"{again[0]} -m reports.build --store {place}")]
    checkpoint = f"{study.place}/trials/{best.row.fingerprint}/checkpoint.safetensors"
    parts = [again[0], "-m", "pipeline.evaluate", "--checkpoint", checkpoint, "--suite", "strong"]
    parts += ["--num-samples", str(SAMPLES)]
    parts += ["--epsilon", f"{study.facts['epsilon']:g}"] if study.facts.get("epsilon") else []
    parts += [] if study.place == "runs" else ["--store", study.place]
    doubts = best.audit.named("WARN") if best.audit else []
    told = f", as its audit warns of {' and '.join(doubts)}" if doubts else ""
    steps = [(f"attack {best.row.label} with all that is known{told}", shlex.join(parts))]
    level = any(not comparison.distinguishable for comparison in study.comparisons)
    if int(study.facts.get("seeds") or 1) < 2 and level:
        command = [*again[:-1], "--set", f"seeds={SEEDS}", again[-1]]
        why = f"train what is reported with {SEEDS} seeds: one says little of a small difference"
        steps.insert(0, (why, shlex.join(command)))
    return steps
