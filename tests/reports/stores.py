"""Writes small stores, file by file, as a sweep leaves them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LAMBDA = "strategy.sparsity_weight"
STEP = "strategy.finite_difference_step"
MEMBERS = ("fgsm+triangle", "pgd+triangle")


def trial(label, method="sr", *, role="searched", parameters=None, **changes):
    config = {"strategy": {"name": method}, "model": {}, "training": {}, "data": {}}
    for path, value in (parameters or {}).items():
        config["strategy"][path.rpartition(".")[2]] = value
    return {
        "label": label,
        "fingerprint": f"{label}0000",
        "role": role,
        "strategy": method,
        "method": method,
        "parameters": parameters or {},
        "config": config,
        "phase": "told",
        "outcome": "complete",
        "reason": "",
        "metrics": {},
        "feasible": True,
        "training_s": 60.0,
        "evaluation_s": 30.0,
    } | changes


def write_sweep(store: Path, name: str, trials: list[dict], **facts) -> Path:
    folder = store / "sweeps" / name
    folder.mkdir(parents=True, exist_ok=True)
    size = facts.pop("num_samples", 10)
    suite = {"members": ["clean", *facts.pop("members", MEMBERS)], "num_samples": size}
    known = {
        "name": name,
        "epsilon": 8 / 255,
        "selection_suite": {"name": "quick", **suite},
        "report_suite": {"name": "full", **suite},
        "parameters": {LAMBDA: {"low": 0.001, "high": 1.0, "log": True}},
        "constraints": {"clean_accuracy": 0.5},
        "complete": True,
    }
    (folder / "sweep.json").write_text(json.dumps(known | facts))
    (folder / "trials.json").write_text(json.dumps(trials))
    return store


def write_verdicts(store, label, split, outcomes, *, attack_hash="a1", file="0"):
    """`outcomes` gives a member's results, sample 0 first; `clean` is the unattacked one."""
    folder = store / "verdicts" / f"{label}0000" / split
    folder.mkdir(parents=True, exist_ok=True)
    columns = {name: [] for name in ("sample", "attack", "oracle", "attack_hash", "robust")}
    for member, results in outcomes.items():
        attack, _, oracle = member.partition("+")
        for sample, robust in enumerate(results):
            row = (sample, attack, oracle or "none", attack_hash, bool(robust))
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    pq.write_table(pa.table(columns), folder / f"block-{file}.parquet")


def write_uniform(store, label, clean, robust, *, total=10, splits=("validation", "test")):
    """The first `clean` samples are right, the first `robust` of them survive the PGD member."""
    outcomes = {
        "clean": np.arange(total) < clean,
        "fgsm+triangle": np.arange(total) < clean,
        "pgd+triangle": np.arange(total) < robust,
    }
    for split in splits:
        write_verdicts(store, label, split, outcomes)


def write_epochs(store, label, rows):
    folder = store / "trials" / f"{label}0000"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "epochs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_measurements(store, label, columns, split="validation"):
    folder = store / "measurements" / f"{label}0000" / split
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / "block-0.parquet")


def write_audit(store, label, status="PASS", *, failed=(), warned=(), robust=0.4, split="test"):
    """The trust audit of a network: two named checks pass, besides those that do not."""
    names = {"iterations": "PASS", "ball": "PASS"} | dict.fromkeys(warned, "WARN")
    names |= dict.fromkeys(failed, "FAIL")
    checks = [
        {
            "name": name,
            "question": f"Is {name} as it should be?",
            "status": said,
            "value": 0.0,
            "pass_at": 0.0,
            "fail_at": 0.1,
            "sentence": f"What {name} found.",
        }
        for name, said in names.items()
    ]
    found = {
        "fingerprint": f"{label}0000",
        "split": split,
        "num_samples": 10,
        "epsilon": 8 / 255,
        "status": status,
        "robust_accuracy": robust,
        "checks": checks,
        "passes": {"clean": [0.0, 0.0]},
    }
    folder = store / "audits" / f"{label}0000"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.json").write_text(json.dumps(found))


def write_gradients(store, label, images, gradients, counts, split="test"):
    """How a network's gradients are distributed, and pictures of all its samples."""
    folder = store / "gradients" / f"{label}0000" / split
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        "sample": np.arange(len(images)),
        "label": np.zeros(len(images), dtype=int),
        "counts": [list(map(int, row)) for row in counts],
        "image": [image.ravel().tolist() for image in images],
        "gradient": [gradient.ravel().tolist() for gradient in gradients],
    }
    shape = ",".join(map(str, images.shape[1:]))
    table = pa.table(columns).replace_schema_metadata({"shape": shape})
    pq.write_table(table, folder / "block-0.parquet")
