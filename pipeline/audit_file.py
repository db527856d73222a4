"""Where the audit of a network lies in the store, and how it gets there."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.adapters.parquet_store import ParquetStore
from pipeline.audit import Audit, audit, gather
from pipeline.errors import ConfigError
from pipeline.evaluator import EvaluationJob
from pipeline.files import StorePath, write_atomically
from pipeline.summary import survivors
from pipeline.threats import Member


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
    path = _path(store, job.fingerprint, job.split)
    about = {
        "num_classes": num_classes,
        "job": _written(job),
        "reported": None if reported is None else _written(reported),
    }
    text = json.dumps(result.as_json() | {"basis": about}, indent=1)
    write_atomically(path, f"{text}\n".encode())
    return result, path


def renew_audit(
    store: ParquetStore, fingerprint: str, split: str, known: Mapping[str, Member]
) -> Audit | None:
    """Audit a network again, from the rows as they are now; None where it was never audited.

    Args:
        store: Where the audit and its rows are.
        fingerprint: Of the network.
        split: Of its samples.
        known: Members by their hashes.

    Raises:
        ConfigError: The file is no audit, is older than such records, or rows are missing.
    """
    path = _path(store, fingerprint, split)
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
        basis = found["basis"]
        jobs = [
            None if told is None else _read(fingerprint, split, told, known)
            for told in (basis["job"], basis["reported"])
        ]
        epsilon, num_classes = float(found["epsilon"]), int(basis["num_classes"])
        if jobs[0] is None:
            raise KeyError("job")
        result, _ = store_audit(
            jobs[0], store, epsilon=epsilon, num_classes=num_classes, reported=jobs[1]
        )
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: cannot be renewed ({type(error).__name__}: {error}); run the sweep again "
            "with --resume, or pipeline.evaluate with --suite audit, which write it anew"
        ) from error
    return result


def _path(store: ParquetStore, fingerprint: str, split: str) -> StorePath:
    return store.root / "audits" / fingerprint / f"{split}.json"


def _written(job: EvaluationJob) -> dict[str, Any]:
    return {
        "members": [member.hash for member in job.members],
        "num_samples": job.num_samples,
        "block_size": job.block_size,
        "seed": job.seed,
    }


def _read(
    fingerprint: str, split: str, told: Mapping[str, Any], known: Mapping[str, Member]
) -> EvaluationJob:
    return EvaluationJob(
        label=fingerprint,
        fingerprint=fingerprint,
        checkpoint="",
        split=split,
        members=tuple(known[name] for name in told["members"]),
        **{name: int(told[name]) for name in ("num_samples", "block_size", "seed")},
    )
