"""The trust audit: from stored rows to a machine-made opinion on a robust accuracy.

Nothing is attacked here. The suite `audit` and the pseudo-member `probe` leave their rows in the
store; the checks read them.
"""

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.audit.check import Check, Status
from pipeline.audit.checks import CHECKS
from pipeline.audit.evidence import ATTACKS, Evidence, gather

__all__ = ["ATTACKS", "Audit", "Check", "Evidence", "Status", "audit", "gather"]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """All checks of one network on one split."""

    fingerprint: str
    split: str
    num_samples: int
    epsilon: float
    status: Status
    robust_accuracy: float
    """Union of everything that the audit tried within the radius, a fraction."""
    checks: tuple[Check, ...]
    passes: dict[str, tuple[float, float]]
    """Mean forward and backward passes a sample, by member."""

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.status is Status.FAIL)

    def summary(self) -> str:
        """One line for people."""
        named = [c.shown() for c in self.checks if c.status in (Status.FAIL, Status.WARN)]
        why = f" ({'; '.join(named)})" if named else ""
        union = f"{100 * self.robust_accuracy:.1f} % withstand all of it"
        return f"audit {self.status}{why}; of {self.num_samples} images {union}"

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def audit(evidence: Evidence, *, fingerprint: str, split: str) -> Audit:
    """Every check, and the worst of what they say."""
    checks = tuple(check for run in CHECKS for check in run(evidence))
    statuses = {check.status for check in checks}
    worst = next((s for s in (Status.FAIL, Status.WARN) if s in statuses), Status.PASS)
    return Audit(
        fingerprint=fingerprint,
        split=split,
        num_samples=len(evidence.clean),
        epsilon=evidence.epsilon,
        status=worst,
        robust_accuracy=float(evidence.union.mean()),
        checks=checks,
        passes=evidence.passes,
    )
