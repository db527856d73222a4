"""Where the audit of a network lies in the store, and how it gets there."""

import json

from pipeline.adapters.parquet_store import ParquetStore
from pipeline.audit import Audit, audit, gather
from pipeline.evaluator import EvaluationJob
from pipeline.files import StorePath, write_atomically
from pipeline.summary import survivors


def store_audit(
    job: EvaluationJob,
    store: ParquetStore,
    *,
    epsilon: float,
    num_classes: int,
    reported: EvaluationJob | None = None,
) -> tuple[Audit, StorePath]:
    """Audit a finished job and keep the result beside its rows.

    Args:
        job: The audit suite on a network.
        store: Where its rows are.
        epsilon: Radius of the result that is audited.
        num_classes: Of the data.
        reported: The job whose union is the reported number, on the same split.
    """
    union = None if reported is None else survivors(reported, store)[: job.num_samples]
    evidence = gather(job, store, epsilon=epsilon, num_classes=num_classes, reported=union)
    result = audit(evidence, fingerprint=job.fingerprint, split=job.split)
    path = store.root / "audits" / job.fingerprint / f"{job.split}.json"
    write_atomically(path, (json.dumps(result.as_json(), indent=1) + "\n").encode())
    return result, path
