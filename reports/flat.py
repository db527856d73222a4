"""Everything that a study measured as flat rows: one for each trial, split and attack."""

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from pipeline.files import StorePath
from reports import store
from reports.known_data import Data
from reports.provenance import provenance
from reports.single import attacks_of, epsilon_of
from reports.study import Study, TrialResult
from reports.unions import CLEAN, NO_ORACLE, Accuracy

UNION = "union"
"""Member of the rows that count an image as robust if it survives every attack of the suite."""
_PASSES = ("num_forward", "num_backward")


def flat_frame(root: StorePath, study: Study) -> pd.DataFrame:
    """One row for each trial, split and member with stored verdicts; fractions, 95 % intervals.

    A trial without verdicts has one row without a split, so that none is lost.

    Raises:
        ConfigError: A file of the store cannot be read.
    """
    rows: list[dict[str, Any]] = []
    for trial in study.trials:
        about = _about(study, trial)
        judged = [
            row
            for split in study.suites
            for rows_of in [store.read_rows(root, trial.row.fingerprint, split)]
            for row in (
                *_members(study, trial, split, rows_of),
                *_union(study, trial, split, rows_of),
            )
        ]
        settings = _settings(trial)
        rows += [about | row | settings for row in judged or [{"split": None, "member": None}]]
    return uniform(pd.DataFrame(rows))


def sample_frames(root: StorePath, study: Study) -> Iterator[tuple[str, pd.DataFrame]]:
    """Fingerprint and per-sample rows of each network of the study that has any."""
    seen = set()
    for trial in study.trials:
        row = trial.row
        if row.fingerprint in seen:
            continue
        seen.add(row.fingerprint)
        names = {"study": study.name, "trial": row.label, "fingerprint": row.fingerprint}
        frames = [
            store.read_rows(root, row.fingerprint, split).assign(**names, split=split)
            for split in map(str, study.suites)
        ]
        frames = [frame for frame in frames if not frame.empty]
        if frames:
            frame = pd.concat(frames, ignore_index=True)
            first = [*names, "split"]
            yield row.fingerprint, frame[[*first, *(c for c in frame if c not in first)]]


def uniform(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows with one type a column: where several are mixed, text."""
    for name in [n for n in frame if pd.api.types.is_object_dtype(frame[n])]:
        column = frame[name]
        kinds = {type(value) for value in column.dropna()}
        numeric = kinds <= {int, float}
        if numeric and kinds:
            frame[name] = column.astype(float)
        elif len(kinds) > 1:
            frame[name] = column.map(lambda value: value if value is None else str(value))
    return frame


def dotted(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
    """A nested mapping by dotted paths; lists as JSON text."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}.{key}"
        if isinstance(value, dict):
            found |= dotted(value, path)
        else:
            found[path] = json.dumps(value) if isinstance(value, list | tuple) else value
    return found


def _about(study: Study, trial: TrialResult) -> dict[str, Any]:
    row = trial.row
    return {
        "study": study.name,
        "trial": row.label,
        "fingerprint": row.fingerprint,
        "role": row.role,
        "strategy": row.strategy,
        "method": row.method,
        "outcome": str(row.outcome or "not finished"),
        "feasible": row.feasible,
        "front": any(trial is member for member in study.front),
        "chosen": trial is study.best,
        "audit": trial.audit.status if trial.audit else None,
        "training_s": row.training_s,
        "evaluation_s": row.evaluation_s,
        "data": study.facts.get("data_note"),
        "data_hash": study.facts.get("data_hash"),
    }


def _settings(trial: TrialResult) -> dict[str, Any]:
    config = dict(trial.row.config)
    if isinstance(config.get("data"), dict):
        config["data"] = {k: v for k, v in config["data"].items() if k not in Data.PLACES}
    searched = {f"parameters.{path}": value for path, value in trial.row.parameters.items()}
    return searched | dotted(config, "config")


def _members(
    study: Study, trial: TrialResult, split: str, rows: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    if rows.empty:
        return
    suite = study.suites[split]
    versions = [c for c in ("attack", "oracle", "attack_hash", "epsilon", "seed") if c in rows]
    for key, of_member in rows.groupby(versions, sort=True):
        known: dict[str, Any] = dict(zip(versions, key, strict=True))
        bare = known["oracle"] == NO_ORACLE
        member = known["attack"] if bare else f"{known['attack']}+{known['oracle']}"
        named = suite.hashes.get(member, known["attack_hash"]) == known["attack_hash"]
        named = named and member in (CLEAN, *suite.members)
        robust = of_member.groupby("sample")["robust"].all()
        accuracy = Accuracy(successes=int(robust.sum()), total=len(robust))
        told = {
            name: "; ".join(sorted({str(v) for v in of_member[name]} - {""})) or None
            for name in store.BLOCK_FACTS
        }
        of = (known["attack_hash"], split)
        blocks = [b for b in trial.blocks if (b.key.member_hash, b.key.split) == of]
        told |= {name: provenance(blocks)[name] or None for name in ("code", "stale")}
        costs = {f"{n}_mean": float(of_member[n].mean()) for n in _PASSES if n in of_member}
        yield {
            "split": str(split),
            "suite": suite.name if named else None,
            "member": member,
            "in_suite": named,
            "order": "survivors" if suite.survivors_only else "all",
            **known,
            **_counts(accuracy),
            **costs,
            **told,
        }


def _union(
    study: Study, trial: TrialResult, split: str, rows: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    robust, suite = trial.robust(split), study.suites[split]
    if robust is not None:
        yield {
            "split": str(split),
            "suite": suite.name,
            "member": UNION,
            "in_suite": True,
            "order": "survivors" if suite.survivors_only else "all",
            "attack": UNION,
            "epsilon": epsilon_of(rows, attacks_of(rows, suite)),
            **_counts(robust),
            "stale": "; ".join(dict.fromkeys(trial.stale.get(split, {}).values())) or None,
        }


def _counts(accuracy: Accuracy) -> dict[str, Any]:
    low, high = accuracy.interval
    return {
        "num_samples": accuracy.total,
        "num_robust": accuracy.successes,
        "accuracy": accuracy.value,
        "low": low,
        "high": high,
    }
