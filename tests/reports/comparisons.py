"""Small stores with several studies, and networks judged on their own."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from stores import LAMBDA, MEMBERS, trial, write_sweep

HASHES = {"clean": "c0", "fgsm+triangle": "f0", "pgd+triangle": "p0"}
LABELS = (np.arange(1000) * 7) % 10


def write_block(
    store, label, split, member, robust, *, code=None, epsilon=8 / 255, start=0, labels=LABELS
):
    """A file of verdicts with all that a real one has and the report reads."""
    folder = store / "verdicts" / f"{label}0000" / split
    folder.mkdir(parents=True, exist_ok=True)
    attack, _, oracle = member.partition("+")
    size, code = len(robust), code or HASHES[member]
    table = pa.table(
        {
            "sample": np.arange(start, start + size),
            "label": labels[start : start + size],
            "attack": [attack] * size,
            "attack_hash": [code] * size,
            "oracle": [oracle or "none"] * size,
            "epsilon": np.full(size, 0.0 if member == "clean" else epsilon),
            "seed": np.zeros(size, dtype=np.int64),
            "robust": np.asarray(robust, dtype=bool),
            "margin": np.linspace(-1, 1, size),
        }
    )
    about = {"revision": "abc123", "device": "cpu", "torch": "2.13.0", "checkpoint_sha256": "77"}
    name = f"{member}-{code}-0-{start}-{start + size}.parquet"
    pq.write_table(table.replace_schema_metadata(about), folder / name)


def write_network(store, label, clean, robust, *, total=100, splits=("validation", "test"), **how):
    """The first `clean` samples are right; the first `robust` of them survive the second attack."""
    counts = {"clean": clean, "fgsm+triangle": clean, "pgd+triangle": robust}
    for split in splits:
        for member, count in counts.items():
            write_block(store, label, split, member, np.arange(total) < count, **how)


def write_study(store, name, counts, *, total=100, epsilon=8 / 255, hashes=None, **facts):
    """A study with a network for each label: its clean and robust count.

    Labels begin with the method; what is no `sr` is a baseline.
    """
    trials = []
    for i, (label, (clean, robust)) in enumerate(counts.items()):
        method = label.partition("-")[0]
        own = {LAMBDA: 0.01 * (i + 1)} if method == "sr" else {}
        role = "searched" if method == "sr" else "baseline"
        trials.append(trial(label, method, role=role, parameters=own))
        write_network(store, label, clean, robust, total=total, epsilon=epsilon)
    suite = {
        "name": "full",
        "members": ["clean", *MEMBERS],
        "num_samples": total,
        "hashes": hashes or HASHES,
    }
    known = {"data_hash": "d1", "data_note": "digits: tiny", "epsilon": epsilon}
    known |= {"selection_suite": suite, "report_suite": suite}
    write_sweep(store, name, trials, **(known | facts))
    return trials
