"""Judges stored breaks again, and names whatever does not fit."""

# Shapes: B samples, C channels, H height, W width.

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.exact import ExactClassifier
from pipeline.attacks import IMAGES, Domain
from pipeline.attacks.grid import from_steps, in_steps
from pipeline.data import Split
from pipeline.data.network_input import network_input
from pipeline.evidence_rows import (
    KINDS,
    Answer,
    Break,
    Claim,
    Recheck,
    Rows,
    Stored,
    check_answer,
    check_image,
    check_verdict,
    known_sample,
    said,
    unpacked,
)
from pipeline.logits import margin
from pipeline.records import EVIDENCE_COLUMNS, GRID_LEVELS, VERDICT_COLUMNS
from pipeline.threats import CLEAN

BATCH = 64


def recheck(
    judge: ExactClassifier,
    samples: Split,
    verdicts: Sequence[Stored],
    evidence: Sequence[Stored],
    claim: Claim,
    domain: Domain = IMAGES,
) -> Recheck:
    """Judge all stored breaks and clean answers again.

    Args:
        judge: The network's exact twin, on the device.
        samples: The split's images and labels.
        verdicts: Blocks of an exact judge.
        evidence: Images that break samples.
        claim: What they are about.
        domain: What the samples are.
    """
    found = Recheck()
    verdicts = [file for file in verdicts if _sound(found, file, VERDICT_COLUMNS, claim, judge)]
    evidence = [file for file in evidence if _sound(found, file, EVIDENCE_COLUMNS, claim, judge)]
    _check_arithmetic(found, judge, samples)
    rows = _verdict_rows(found, verdicts, samples)
    _check_clean(found, judge, samples, verdicts)
    for (_, sample), row in rows.items():
        if row["attacked"] and not row["robust"]:
            found.breaks.add((sample, row["threat"], row["epsilon"]))
    _check_survivors(found, rows)
    _check_evidence(found, judge, samples, evidence, rows, domain)
    for sample, _, epsilon in sorted(found.breaks - _told(evidence)):
        found.problem(
            "missing", f"sample {sample}", f"said to be broken at {epsilon:g}, without evidence"
        )
    return found


def _told(evidence: Sequence[Stored]) -> set[Break]:
    return {
        (row["sample"], row["threat"], row["epsilon"]) for file in evidence for row in file.rows()
    }


def _sound(
    found: Recheck, file: Stored, columns: Sequence[str], claim: Claim, judge: ExactClassifier
) -> bool:
    """Whether a file holds what its kind does; what it says of itself is compared."""
    block, about = file.block, file.block.metadata
    for name in columns:
        kind = block.columns[name].dtype.kind if name in block.columns else ""
        if kind not in KINDS.get(name, "O"):
            found.problem("file", file.name, f"has no column '{name}' as this pipeline writes it")
            return False
    for key, wanted in (("fingerprint", claim.fingerprint), ("split", claim.split)):
        if about.get(key) != wanted:
            found.problem("file", file.name, f"its {key} is {about.get(key)}, expected {wanted}")
    if about.get("checkpoint_sha256") != claim.checkpoint_sha256:
        found.problem("checkpoint", file.name, "is about another checkpoint than the one here")
    if about.get("steps") != str(judge.steps) or about.get("judge") != "exact":
        found.problem(
            "grid", file.name, f"expected an exact judge and {judge.steps} steps, got "
            f"{about.get('judge')} and {about.get('steps')}"
        )  # fmt: skip
    seeds = sorted(set(block.columns["seed"].tolist()))
    prefix = f"{about.get('member')}-{about.get('member_hash')}-{seeds[0] if seeds else ''}-"
    if len(seeds) > 1 or not file.own_name.startswith(prefix):
        found.problem("name", file.name, f"its rows are those of {prefix}START-STOP.parquet")
    return True


def _check_arithmetic(found: Recheck, judge: ExactClassifier, samples: Split) -> None:
    """Whether this machine's float32 sums are plain ones: float64 has to agree."""
    inputs = _inputs(samples.images[:4]).to(_device(judge))
    single = judge(inputs)
    judge.compute_sums_in(torch.float64)
    try:
        double = judge(inputs)
    finally:
        judge.compute_sums_in(torch.float32)
    if not torch.equal(single, double):
        found.problem(
            "arithmetic", str(inputs.device), "sums of integers are not exact here: something "
            "computes float32 products in fewer bits, such as set_float32_matmul_precision"
        )  # fmt: skip


def _verdict_rows(found: Recheck, verdicts: Sequence[Stored], samples: Split) -> Rows:
    rows: Rows = {}
    for file in verdicts:
        code = file.block.metadata.get("member_hash", "")
        for row in file.rows():
            where = f"{file.name}, sample {row['sample']}"
            if not known_sample(found, row, where, samples):
                continue
            if row["attack_hash"] != code:
                found.problem("verdict", where, f"its attack is not the file's, {code}")
            if row["robust"] != (row["predicted"] == row["label"]):
                found.problem("verdict", where, "says robust and another class, or not and its own")
            key = file.own_name, row["sample"]
            if key in rows:
                found.problem("duplicate", where, "has several rows")
            rows[key] = row
    return rows


def _check_survivors(found: Recheck, rows: Rows) -> None:
    """A sample that was not attacked any more must have been broken, or wrong clean."""
    wrong = {s for (_, s), row in rows.items() if row["attack"] == CLEAN and not row["robust"]}
    smallest: dict[tuple[int, str], float] = {}
    for sample, threat, epsilon in found.breaks:
        place = sample, threat
        smallest[place] = min(epsilon, smallest.get(place, epsilon))
    for (name, sample), row in rows.items():
        if row["attack"] == CLEAN or row["robust"] or row["attacked"] or sample in wrong:
            continue
        if smallest.get((sample, row["threat"]), np.inf) > row["epsilon"] * (1 + 1e-9):
            found.problem(
                "verdict", f"{name}, sample {sample}", "counts as broken before, but by nothing"
            )


def _check_clean(
    found: Recheck, judge: ExactClassifier, samples: Split, verdicts: Sequence[Stored]
) -> None:
    for file in verdicts:
        if file.block.metadata.get("member") != CLEAN:
            continue
        rows = [row for row in file.rows() if 0 <= row["sample"] < len(samples)]
        images = _inputs(samples.images[[row["sample"] for row in rows]])
        labels = samples.labels[[row["sample"] for row in rows]]
        for row, answer in zip(rows, _answers(judge, images, labels), strict=True):
            found.clean.add(row["sample"])
            if answer == (row["predicted"], row["margin"]):
                found.clean_same.add(row["sample"])
                continue
            found.problem(
                "clean", f"{file.name}, sample {row['sample']}",
                f"the network says {said(answer)}, stored is "
                f"{said((row['predicted'], row['margin']))}",
            )  # fmt: skip


def _check_evidence(
    found: Recheck,
    judge: ExactClassifier,
    samples: Split,
    evidence: Sequence[Stored],
    rows: Rows,
    domain: Domain,
) -> None:
    for file in evidence:
        stored = [
            row
            for row in file.rows()
            if known_sample(found, row, f"{file.name}, sample {row['sample']}", samples)
        ]
        counts = Counter((row["sample"], row["threat"], row["epsilon"]) for row in stored)
        for (sample, *_), count in counts.items():
            if count > 1:
                found.problem("duplicate", f"{file.name}, sample {sample}", f"{count} rows of it")
        if not stored:
            continue
        chosen = [row["sample"] for row in stored]
        clean = in_steps(_inputs(samples.images[chosen]), judge.steps).numpy().astype(np.int64)
        tried = clean.copy()
        for place, row in enumerate(stored):
            moved = unpacked(row["perturbation"], clean.shape[1:])
            if moved is not None:
                tried[place] = (clean[place] + moved) % GRID_LEVELS
        images = from_steps(torch.from_numpy(tried), judge.steps, torch.empty(0))
        answers = _answers(judge, images, samples.labels[chosen])
        for place, (row, answer) in enumerate(zip(stored, answers, strict=True)):
            before = len(found.problems)
            where = f"{file.name}, sample {row['sample']}"
            check_verdict(found, where, file, row, rows)
            check_image(found, where, row, tried[place], clean[place], judge.steps, domain)
            check_answer(found, where, row, answer, int(samples.labels[row["sample"]]))
            name = row["sample"], row["threat"], row["epsilon"]
            if len(found.problems) == before and name in found.breaks:
                found.reproduced.add(name)


def _answers(judge: ExactClassifier, images: Tensor, labels: NDArray[np.int64]) -> list[Answer]:
    """What the judge says of images (B, C, H, W)."""
    answers: list[Answer] = []
    for part in torch.arange(len(images)).split(BATCH):
        logits = judge(images[part].to(_device(judge)))
        chosen = torch.from_numpy(labels[part.numpy()]).to(logits.device)
        margins = (-margin(logits, chosen)).float().tolist()
        answers += list(zip(logits.argmax(1).tolist(), margins, strict=True))
    return answers


def _inputs(images: NDArray[Any]) -> Tensor:
    return network_input(torch.from_numpy(np.array(images)))


def _device(judge: ExactClassifier) -> torch.device:
    return next(judge.buffers()).device
