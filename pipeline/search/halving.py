"""Which trials are hopeless half-way: successive halving by non-dominated rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from pipeline.config_types import Count
from pipeline.search.front import pareto_front


@dataclass(frozen=True, kw_only=True)
class HalvingConfig:
    """Early stopping of hopeless trials (asynchronous successive halving; Li et al., 2020).

    After `first_epoch` epochs, and `factor` times as many, and so on, a trial's clean and quick
    robust accuracy on the validation split are compared with those that other trials had there.
    Baselines are never stopped.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    first_epoch: Count
    """Epochs before the first look."""
    factor: Annotated[int, Field(ge=2, le=100)] = 3
    """One in so many goes on, and whoever no other trial beats in both."""
    num_samples: Count = 200
    """Validation samples of the look, the first ones."""
    num_steps: Count = 10
    """Of its attack: PGD through the network's own gradient, at the evaluation's radius."""

    def looks(self, epochs: int) -> list[int]:
        """Epochs, counted from 1, after which trials are compared; the last epoch is none."""
        found, epoch = [], self.first_epoch
        while epoch < epochs:
            found.append(epoch)
            epoch *= self.factor
        return found


def hopeless(values: Sequence[float], others: Sequence[Sequence[float]], *, factor: int) -> str:
    """Why a trial should stop; empty if it should go on.

    It goes on while no other trial is better in both values, and while it is among the best
    1/`factor` of all by non-dominated rank (the front first, then the front of the rest, ...).

    Args:
        values: Clean and robust accuracy of the trial.
        others: Those of the trials that came so far.
        factor: As in `HalvingConfig`.
    """
    points = [tuple(values), *(tuple(other) for other in others)]
    allowed = -(-len(points) // factor)
    waiting, before = list(range(len(points))), 0
    while True:
        front = pareto_front([points[index] for index in waiting], ("maximize",) * len(values))
        chosen = {waiting[position] for position in front}
        if 0 in chosen:
            break
        before += len(chosen)
        waiting = [index for index in waiting if index not in chosen]
    if before == 0 or before < allowed:
        return ""
    return f"{before} of {len(points)} trials were better there, and {allowed} may go on"
