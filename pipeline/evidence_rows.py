"""What is stored of a network's breaks, and what must hold of each row of it."""

# Shapes: C channels, H height, W width.

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.attacks import Domain, Threat
from pipeline.attacks.grid import excess
from pipeline.data import Split
from pipeline.records import Block

KINDS = {
    **dict.fromkeys(("sample", "label", "predicted", "seed", "restart"), "i"),
    **dict.fromkeys(("num_forward", "num_backward"), "if"),
    **dict.fromkeys(("epsilon", "margin", "share", "distance"), "f"),
    **dict.fromkeys(("attacked", "robust"), "b"),
}
"""What numpy calls the kinds of the columns; all others hold texts or bytes."""
Break = tuple[int, str, float]
"""Sample, threat model and radius."""
Answer = tuple[int, float]
"""Predicted class and margin."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something stored that is not what it says it is."""

    kind: str
    """What is wrong: file, name, checkpoint, grid, sample, label, epsilon, verdict, duplicate,
    missing, ball, image, judgement, margin, clean or arithmetic."""
    where: str
    """File, and sample where it is one's."""
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.sentence}"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A file of rows."""

    name: str
    """Its path below the store's kind of files and network."""
    block: Block

    @property
    def own_name(self) -> str:
        """The name alone: a block's verdicts and its evidence share it."""
        return self.name.rpartition("/")[2]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows as dictionaries of plain values."""
        columns = {name: values.tolist() for name, values in self.block.columns.items()}
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the stored files are about; they all have to say so."""

    fingerprint: str
    split: str
    checkpoint_sha256: str


@dataclass
class Recheck:
    """What judging again found."""

    breaks: set[Break] = field(default_factory=set)
    """That the verdicts claim."""
    reproduced: set[Break] = field(default_factory=set)
    clean: set[int] = field(default_factory=set)
    """Samples that were judged without an attack."""
    clean_same: set[int] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, kind: str, where: str, sentence: str) -> None:
        """Note what is wrong."""
        self.problems.append(Problem(kind=kind, where=where, sentence=sentence))


Rows = dict[tuple[str, int], dict[str, Any]]
"""(file's own name, sample) -> verdict."""


def known_sample(found: Recheck, row: dict[str, Any], where: str, samples: Split) -> bool:
    """Whether the data has the sample; its label is compared."""
    if not 0 <= row["sample"] < len(samples):
        found.problem("sample", where, f"there is no such sample, of {len(samples)}")
        return False
    label = int(samples.labels[row["sample"]])
    if row["label"] != label:
        found.problem("label", where, f"the data's is {label}, stored is {row['label']}")
    return True


def check_verdict(
    found: Recheck, where: str, file: Stored, row: dict[str, Any], rows: Rows
) -> None:
    """Whether evidence is of the verdict in the file of the same name, and says what that says."""
    verdict = rows.get((file.own_name, row["sample"]))
    if verdict is None:
        found.problem("verdict", where, "there is no verdict of this member, seed and sample")
        return
    if verdict["robust"] or not verdict["attacked"]:
        found.problem("verdict", where, "the verdict says that this member did not break it")
    if verdict["epsilon"] != row["epsilon"]:
        found.problem(
            "epsilon", where, f"{row['epsilon']:g} here, {verdict['epsilon']:g} in the verdict"
        )
    for name in (
        "attack",
        "attack_hash",
        "oracle",
        "threat",
        "seed",
        "restart",
        "predicted",
        "margin",
    ):
        if verdict[name] != row[name]:
            found.problem(
                "verdict", where, f"its {name} is {row[name]} here, {verdict[name]} in the verdict"
            )


def unpacked(packed: object, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """A perturbation in steps, modulo 2**16; None if it is of another size."""
    if not isinstance(packed, bytes) or len(packed) != 2 * int(np.prod(shape)):
        return None
    return np.frombuffer(packed, dtype="<u2").astype(np.int64).reshape(shape)


def check_image(
    found: Recheck,
    where: str,
    row: dict[str, Any],
    tried: NDArray[np.int64],
    clean: NDArray[np.int64],
    steps: int,
    domain: Domain,
) -> None:
    """What the threat model allows, and hash; the grid is the format's own: 65536 whole steps."""
    if unpacked(row["perturbation"], clean.shape) is None:
        found.problem("image", where, "its perturbation has another size than the image")
        return
    if hashlib.sha256(tried.astype("<u2").tobytes()).hexdigest() != row["image_sha256"]:
        found.problem("image", where, "the attacked image's SHA-256 differs")
    try:
        budget = Threat.named(row["threat"], domain).budget(row["epsilon"])
    except ValueError as error:
        found.problem("verdict", where, str(error))
        return
    whole, unmoved = (torch.from_numpy(values).double() for values in (tried, clean))
    if told := excess(budget, whole, unmoved, steps):
        found.problem("ball", where, told)


def check_answer(
    found: Recheck, where: str, row: dict[str, Any], answer: Answer, label: int
) -> None:
    """Whether the judge says now what is stored, to the last bit."""
    if answer[0] == label:
        found.problem("judgement", where, "the network classifies the attacked image correctly")
    elif answer[0] != row["predicted"]:
        found.problem(
            "judgement", where, f"the network says {said(answer)}, stored is class "
            f"{row['predicted']}"
        )  # fmt: skip
    elif answer[1] != row["margin"]:
        found.problem(
            "margin", where, f"the network's is {answer[1]!r}, stored is {row['margin']!r}"
        )


def said(answer: Answer) -> str:
    """An answer for people."""
    return f"class {answer[0]} by a margin of {answer[1]!r}"
