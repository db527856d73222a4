"""A network's rows under the audit suite, as the checks read them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluator import EvaluationJob
from pipeline.metrics.probe import SAME_ANSWER
from pipeline.ports import ResultStore
from pipeline.threats import CLEAN, PROBE, Member

Flags = NDArray[np.bool_]
"""One entry a sample."""
SINGLE = ("fgsm",)
FEW, MANY = "pgd10", "pgd50"
GRADIENT = (*SINGLE, FEW, MANY)
LOSSES = ("apgd-ce", "apgd-margin", "apgd-dlr")
TARGETED, SCALED, RESTARTS = "apgd-t", "pgd50-scaled", "restarts"
LONG = "pgd1000"
STRAIGHT, ADAPTIVE = "bpda", "sa-pgd"
RANDOM_SEARCH, TRANSFER = "square", "transfer"
BLIND = ("noise", "corners")
STILL, ANYTHING = "still", "anything"
LARGER = ("radius-x4", "radius-x8")
FEWER_DRAWS = ("eot-1", "eot-5")
BLACK_BOX = (RANDOM_SEARCH, TRANSFER, *BLIND)
ATTACKS = (*GRADIENT, *LOSSES, TARGETED, SCALED, RESTARTS, LONG, STRAIGHT, ADAPTIVE,
           *BLACK_BOX, STILL, ANYTHING, *LARGER, *FEWER_DRAWS)  # fmt: skip
"""What the checks look for in a suite; an absent one makes its checks say so."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A network's rows under the audit suite, samples in order."""

    epsilon: float
    num_classes: int
    members: dict[str, Member]
    robust: dict[str, Flags]
    distance: dict[str, NDArray[np.float64]]
    probe: dict[str, NDArray[np.float64]]
    reported: Flags | None = None
    """What survives the suite that is reported, on the same samples."""
    passes: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def clean(self) -> Flags:
        """What is classified correctly without an attack."""
        return self.robust[CLEAN]

    @property
    def is_random(self) -> bool:
        """Whether the same question gets different answers; the first of AutoAttack's flags."""
        if not self.probe:
            return False
        differs = float(self.probe["repeat_difference"].max()) > SAME_ANSWER
        return differs or bool(self.probe["repeat_changes"].any())

    def survivors(self, attacks: Iterable[str], oracle: str | None = None) -> Flags | None:
        """What withstands these attacks (through this oracle alone); None if none was run."""
        wanted = set(attacks)
        found = [
            self.robust[name]
            for name, member in self.members.items()
            if member.attack_name in wanted and oracle in (None, member.oracle_name)
        ]
        return _all(self.clean, found) if found else None

    def restarted(self) -> Flags | None:
        """What withstands the network's own gradient, from as many starts as there were.

        Another attack also starts elsewhere: against a single start, that alone breaks something.
        """
        own = self.survivors([MANY], oracle="own")
        again = self.survivors([RESTARTS])
        return own if own is None or again is None else own & again

    @property
    def union(self) -> Flags:
        """What withstands everything within the radius."""
        counted = [self.robust[name] for name, member in self.members.items() if member.counted]
        return _all(self.clean, counted)

    def white_box(self, without: Iterable[str] = ()) -> Flags:
        """What withstands every attack within the radius that follows the network's gradients.

        Args:
            without: Attacks left out of it.
        """
        left_out = {CLEAN, *BLACK_BOX, *without}
        inside = [
            self.robust[name]
            for name, member in self.members.items()
            if member.counted and member.attack_name not in left_out
        ]
        return _all(self.clean, inside)


def gather(
    job: EvaluationJob,
    store: ResultStore,
    *,
    epsilon: float,
    num_classes: int,
    reported: Flags | None = None,
) -> Evidence:
    """A finished audit's rows.

    Raises:
        KeyError: A block is not in the store.
    """
    columns: dict[str, dict[str, list[NDArray[Any]]]] = {}
    known: dict[str, Member] = {}
    for task in sorted(job.tasks(), key=lambda task: task.key.start):
        name = task.member.name
        known[name] = task.member
        for column, values in store.get(task.key).columns.items():
            columns.setdefault(name, {}).setdefault(column, []).append(values)
    joined = {
        name: {column: np.concatenate(parts) for column, parts in found.items()}
        for name, found in columns.items()
    }
    verdicts = {name: found for name, found in joined.items() if name != PROBE}
    return Evidence(
        epsilon=epsilon,
        num_classes=num_classes,
        members={name: member for name, member in known.items() if name in verdicts},
        robust={name: found["robust"].astype(bool) for name, found in verdicts.items()},
        distance={name: found["distance"] for name, found in verdicts.items()},
        probe={name: values for name, values in joined.get(PROBE, {}).items() if name != "sample"},
        reported=reported,
        passes={
            name: (float(found["num_forward"].mean()), float(found["num_backward"].mean()))
            for name, found in verdicts.items()
        },
    )


def _all(first: Flags, others: Iterable[Flags]) -> Flags:
    return np.asarray(np.logical_and.reduce([first, *others]), dtype=np.bool_)
