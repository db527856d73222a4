"""The rows everybody agrees on: trials, per-sample verdicts, per-sample measurements.

Accuracies are fractions in [0, 1]. Columns of a block have one entry per row; blocks are what
one evaluation task returns and what is stored, once, under its key.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class SplitName(StrEnum):
    """Selection reads VALIDATION; reporting reads TEST."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Phase(StrEnum):
    """Where a trial stands; the study in the database is the truth."""

    ASKED = "asked"
    TRAINED = "trained"
    TOLD = "told"


class Outcome(StrEnum):
    """How a told trial ended."""

    COMPLETE = "complete"
    FAILED = "failed"
    DIVERGED = "diverged"
    PRUNED = "pruned"
    """Stopped early: others were better half-way."""


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial of a sweep, as its ledger knows it."""

    label: str
    """Speaking and unique within the sweep, such as `sr-004` or `vanilla`."""
    fingerprint: str
    """Names the trained network in the store: equal configurations share it."""
    role: str
    """`baseline`, `searched` or `replicate`: one of these again, with another seed."""
    strategy: str
    """Label of the strategy in the space's `strategies`."""
    method: str
    """Training method behind the label: vanilla, at, rat, gr, sr, sr_star."""
    parameters: dict[str, Any]
    """What the search set, by dotted path; empty for a baseline."""
    config: dict[str, Any]
    """The whole trial configuration, as plain data."""
    phase: Phase = Phase.ASKED
    outcome: Outcome | None = None
    reason: str = ""
    """Why the trial failed or diverged; empty otherwise."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Validation metrics the objectives were told from."""
    feasible: bool = True
    """False where a constraint of the space, such as a clean-accuracy floor, is violated."""
    training_s: float = 0.0
    evaluation_s: float = 0.0
    replicate_of: str = ""
    """Label of the trial that this one repeats with another seed; empty for all others."""


@dataclass(frozen=True, kw_only=True)
class UsedData:
    """A split of a data set, and what it is used for."""

    name: str
    """Of data set and split, such as `digits-test`."""
    digest: str
    """Beginning of the data's SHA-256, over all splits; rows of verdicts carry the whole."""
    context: str
    """`training`, `validation` or `test`."""
    note: str
    """One plain sentence on what the data is."""
    dtype: str
    sample_shape: tuple[int, ...]
    """(C, H, W) of images, (T, 2, H, W) of event frames."""
    class_counts: tuple[int, ...]
    """Samples of each class."""


@dataclass(frozen=True, kw_only=True)
class NetworkVersion:
    """A network that people may want to find again by what it is, not by its run."""

    fingerprint: str
    aliases: tuple[str, ...]
    """`chosen`, `knee`, or BASELINE_ALIAS and a strategy's label."""
    tags: dict[str, str]
    description: str
    """Markdown."""


@dataclass(frozen=True, kw_only=True)
class Showcase:
    """What a finished study adds to what the tracker knows of its trials."""

    note: str
    """Markdown for the page of the sweep. Its links are `(network:FINGERPRINT)`, `(file:PATH)` and
    `(image:PATH)` of what the sweep logs, `(view:)` and `(charts:)` of all trials, `(models:)`."""
    front: tuple[str, ...]
    """Fingerprints of the networks on the front."""
    models_note: str
    """Markdown: which networks are registered."""
    networks: tuple[NetworkVersion, ...]
    """To be registered."""


BASELINE_ALIAS = "baseline-"
"""Before a user's own label: alone it might be a name that is taken or reserved."""


@dataclass(frozen=True, kw_only=True)
class BlockKey:
    """Names a stored block: what was evaluated, on which samples, by what."""

    fingerprint: str
    split: str
    member: str
    """Speaking name, such as `pgd20-ce+triangle`, `clean` or `measure`."""
    member_hash: str
    """Hash of everything that decides the block's rows besides network, split and samples."""
    seed: int
    """Seed that the rows' generator is derived from."""
    start: int
    """Position of the first sample within the split."""
    stop: int


@dataclass(frozen=True, kw_only=True)
class Block:
    """Columns of equal length plus metadata; verdicts or measurements of some samples."""

    columns: dict[str, NDArray[Any]]
    metadata: dict[str, str]
    evidence: dict[str, NDArray[Any]] | None = None
    """Of an exact judge, the images that were found to break samples: `EVIDENCE_COLUMNS`. A store
    keeps one a sample, threat model and radius, beside the block."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), np.empty(0)))


VERDICT_COLUMNS = (
    "sample",  # position in the split, int64
    "label",  # int64
    "attack",  # name in the suite; "clean" for no attack
    "attack_hash",
    "oracle",  # what the attacker differentiated; "none" for clean
    "threat",  # what the attacker may do: "pixels", or a threat model of event frames
    "epsilon",  # radius: pixel units of [0, 1], or the threat model's; flips for "binary"
    "seed",
    "restart",  # the one that decided
    "attacked",  # bool: False where misclassified clean or broken by a member before this one
    "robust",  # bool: still classified correctly by the victim, and broken by no member before
    "predicted",  # the victim's class on the attacked image; -1 if a member before left it broken
    "margin",  # z_y - max of the others, victim, attacked image; negative when broken
    "share",  # of the victim's draws that are right; 0 or 1 for a network that is not random
    "distance",  # largest change of a pixel, in the unit of epsilon; flips for "binary"
    "num_forward",  # passes through the oracle that this sample's attack took
    "num_backward",
)

EVIDENCE_COLUMNS = (
    "sample",  # position in the split, int64
    "label",
    "predicted",  # the judge's class
    "margin",  # its z_y - max of the others, float32: the same bits on any machine
    "attack",
    "attack_hash",
    "oracle",
    "threat",
    "epsilon",
    "seed",
    "restart",
    "perturbation",  # bytes: the image less the clean one in steps of the grid, modulo 2**16, <u2
    "image_sha256",  # of the image's steps, <u2, (C, H, W)
)
GRID_LEVELS = 2**16
"""Points of the grid that attacked images are judged on: 0 to 65535 steps."""

_STEPS = [10 ** (step / 8) for step in range(-48, 17)]
BIN_EDGES = (*(-edge for edge in reversed(_STEPS)), *_STEPS)
"""Edges of the bins that a gradient's components are counted in, eight a decade from a millionth to
100. The middle bin holds what is nearer to zero, the outer two what lies beyond, too. They belong
to no network, so that counts of several can be compared."""
