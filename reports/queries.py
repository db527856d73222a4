"""Loads a sweep into a frozen `Study`: every number that the report shows comes from here."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from pipeline.adapters.parquet_store import ParquetStore
from pipeline.files import StorePath
from pipeline.recheck_file import recheck_sentence
from pipeline.records import SplitName, TrialRow
from pipeline.stale import stored_blocks
from reports import store
from reports.evidence import Evidence
from reports.parameters import parameters_of, value_of
from reports.provenance import SUITE, hashes_of, stale_members, stale_suites
from reports.study import (
    AuditCheck,
    AuditResult,
    GradientPictures,
    GradientStats,
    Study,
    TrialResult,
)
from reports.unions import Suite, judge, suite_from

GRADIENTS = (
    "gradient_l1",
    "gradient_l2",
    "gradient_l0",
    "gradient_density",
    "hoyer",
    "margin_gradient_l1",
    "margin_gradient_l2",
)
RATIO = "vulnerability_ratio"


def load_study(root: StorePath, name: str) -> Study:
    """Read a sweep and the rows of its trials from a store.

    Raises:
        ConfigError: If the sweep is absent or one of its files cannot be read.
    """
    facts = store.read_sweep(root, name)
    suites: dict[str, Suite] = {
        SplitName.VALIDATION: suite_from(facts.get("selection_suite"), facts.get("num_validation")),
        SplitName.TEST: suite_from(facts.get("report_suite"), facts.get("num_test")),
    }
    changed = stale_suites(facts)
    rows = store.read_trials(root, name)
    return Study(
        name=name,
        facts=facts,
        suites=suites,
        trials=tuple(_result(root, row, suites, changed) for row in rows),
        parameters=parameters_of(facts),
        place=str(root),
        stale_suites=changed,
    )


def trial_frame(study: Study) -> pd.DataFrame:
    """One row per trial: parameters, accuracies with intervals and gradients; fractions."""
    return pd.DataFrame([_flat(study, trial) for trial in study.trials])


def _result(
    root: StorePath, row: TrialRow, suites: dict[str, Suite], changed: dict[str, str]
) -> TrialResult:
    blocks = stored_blocks(ParquetStore(root), row.fingerprint)
    return TrialResult(
        row=row,
        splits={
            split: judge(
                store.read_verdicts(root, row.fingerprint, split), suite.of(row.fingerprint)
            )
            for split, suite in suites.items()
        },
        gradients=_gradients(root, row.fingerprint),
        epochs=store.read_epochs(root, row.fingerprint),
        audit=audit_of(root, row.fingerprint),
        pictures=_pictures(root, row.fingerprint),
        evidence={
            split: Evidence(
                read=partial(store.read_verdicts, root, row.fingerprint, split),
                suite=suite.of(row.fingerprint),
            )
            for split, suite in suites.items()
        },
        blocks=tuple(blocks),
        stale={
            split: stale_members(blocks, split, hashes_of(own), own.num_samples)
            | ({SUITE: changed[split]} if split in changed else {})
            for split, own in ((s, suite.of(row.fingerprint)) for s, suite in suites.items())
        },
        stale_gradients=tuple(
            dict.fromkeys(
                reason
                for block in blocks
                if block.key.member == "measure"
                for reason in block.reasons
            )
        ),
        recheck=recheck_sentence(root, row.fingerprint, SplitName.TEST),
    )


def _pictures(root: StorePath, fingerprint: str) -> GradientPictures | None:
    rows, shape = store.read_gradients(root, fingerprint, SplitName.TEST)
    if rows.empty:
        return None
    rows = rows.drop_duplicates("sample", keep="last").sort_values("sample")
    kept = rows[rows["image"].map(len) > 0]
    images, gradients = (
        np.array(kept[name].to_list(), dtype=float).reshape(-1, *shape)
        for name in ("image", "gradient")
    )
    counts = np.stack(rows["counts"].to_list()).sum(axis=0)
    return GradientPictures(
        counts=counts, num_samples=len(rows), images=images, gradients=gradients
    )


def audit_of(root: StorePath, fingerprint: str) -> AuditResult | None:
    """The trust audit of a network, on test images where there is one; None without any."""
    for split in (SplitName.TEST, SplitName.VALIDATION):
        found = store.read_audit(root, fingerprint, split)
        if found is not None:
            keys = ("name", "question", "status", "sentence")
            return AuditResult(
                status=str(found["status"]),
                split=split,
                num_samples=int(found.get("num_samples", 0)),
                robust_accuracy=float(found.get("robust_accuracy", np.nan)),
                checks=tuple(
                    AuditCheck(**{key: str(check.get(key, "")) for key in keys})
                    for check in found["checks"]
                ),
            )
    return None


def _gradients(root: StorePath, fingerprint: str) -> GradientStats | None:
    for split in (SplitName.VALIDATION, SplitName.TEST):
        rows = store.read_measurements(root, fingerprint, split)
        if not rows.empty:
            return _gradient_stats(rows.drop_duplicates("sample", keep="last"), split)
    return None


def _gradient_stats(rows: pd.DataFrame, split: str) -> GradientStats:
    density = rows.get("gradient_density", pd.Series(np.nan, index=rows.index))
    ratio = rows.get(RATIO, pd.Series(np.nan, index=rows.index)).dropna()
    upper = 3 * rows.get("gradient_l0", pd.Series(np.nan, index=rows.index)).loc[ratio.index]
    within = ((ratio >= 3) & (ratio <= upper)).mean() if len(ratio) else np.nan
    return GradientStats(
        split=split,
        total=len(rows),
        undefined=int(density.isna().sum()),
        means={name: float(rows[name].mean()) for name in GRADIENTS if name in rows},
        ratio_median=float(ratio.median()),
        within_bounds=float(within),
    )


def _flat(study: Study, trial: TrialResult) -> dict[str, Any]:
    row = trial.row
    flat: dict[str, Any] = {
        "label": row.label,
        "fingerprint": row.fingerprint,
        "role": row.role,
        "strategy": row.strategy,
        "method": row.method,
    }
    flat |= {parameter.path: value_of(row, parameter.path) for parameter in study.parameters}
    for split in (SplitName.VALIDATION, SplitName.TEST):
        for kind, accuracy in (("clean", trial.clean(split)), ("robust", trial.robust(split))):
            low, high = accuracy.interval if accuracy else (np.nan, np.nan)
            flat |= {
                f"{split}_{kind}": accuracy.value if accuracy else np.nan,
                f"{split}_{kind}_low": low,
                f"{split}_{kind}_high": high,
                f"{split}_{kind}_num_samples": accuracy.total if accuracy else 0,
            }
        reasons = trial.stale.get(split, {}).values()
        flat[f"{split}_stale"] = "; ".join(dict.fromkeys(reasons))
    means = trial.gradients.means if trial.gradients else {}
    flat |= {name: means.get(name, np.nan) for name in GRADIENTS}
    flat |= {
        "front": any(trial is member for member in study.front),
        "front_probability": study.front_probability(trial),
        "feasible": row.feasible,
        "audit": trial.audit.status if trial.audit else "",
        "outcome": str(row.outcome or "not finished"),
        "reason": row.reason,
        "training_s": row.training_s,
        "evaluation_s": row.evaluation_s,
    }
    return flat
