"""One question to a result, and how its number becomes PASS, WARN or FAIL."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pipeline.audit.evidence import Flags


class Status(StrEnum):
    """What a check says; the audit says what the worst of its checks says."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"
    SKIPPED = "SKIPPED"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question to a result, its number, and what that number means."""

    name: str
    question: str
    status: Status
    value: float | None
    """The number; None where it could not be computed."""
    pass_at: float | None
    """It passes up to here (from here, where more is better)."""
    fail_at: float | None
    """And fails beyond here."""
    counted: float | None
    """The number after one standard error in the network's favour: what is held to the limits."""
    sentence: str
    """What was found, for a person."""

    def shown(self) -> str:
        """Name, what counts, and limit, such as `losses: 5.3 %, passes up to 3 %`."""
        if self.counted is None or self.pass_at is None or self.fail_at is None:
            return self.name
        limit = f"{'from' if self.pass_at > self.fail_at else 'up to'} {100 * self.pass_at:g} %"
        return f"{self.name}: {100 * self.counted:.1f} %, passes {limit}"


def judge(
    name: str,
    question: str,
    value: float,
    *,
    pass_at: float,
    fail_at: float,
    sentence: str,
    error: float = 0.0,
    more_is_better: bool = False,
) -> Check:
    """PASS, WARN or FAIL after one standard error in the network's favour.

    The sentence goes on with the limits where there are two; they are fractions, shown in percent.
    """
    sign = -1.0 if more_is_better else 1.0
    allowed = sign * value - error
    status = Status.WARN
    if allowed <= sign * pass_at + 1e-12:
        status = Status.PASS
    elif allowed > sign * fail_at + 1e-12:
        status = Status.FAIL
    counted = value + error if more_is_better else value - error
    if pass_at != fail_at:
        words = ("from", "below") if more_is_better else ("up to", "beyond")
        side = "plus" if more_is_better else "less"
        if error:
            sentence += f" What counts is {100 * counted:.1f} %, {side} one standard error."
        sentence += f" Passes {words[0]} {100 * pass_at:g} %, fails {words[1]} {100 * fail_at:g} %."
    return Check(
        name=name,
        question=question,
        status=status,
        value=value,
        pass_at=pass_at,
        fail_at=fail_at,
        counted=counted,
        sentence=sentence,
    )


def skipped(name: str, question: str, why: str) -> Check:
    """A check without a number, and why."""
    return Check(
        name=name,
        question=question,
        status=Status.SKIPPED,
        value=None,
        pass_at=None,
        fail_at=None,
        counted=None,
        sentence=why,
    )


def more_broken(before: Flags, after: Flags) -> tuple[float, float]:
    """Share of samples that `before` leaves and `after` does not, and its standard error."""
    count = int((before & ~after).sum())
    return count / len(before), math.sqrt(count + 1.0) / len(before)


def points(share: float) -> str:
    """A share of the samples for people."""
    return f"{100 * share:.1f} % of the images"


def gain(
    name: str,
    question: str,
    weaker: Flags | None,
    stronger: Flags | None,
    pass_at: float,
    fail_at: float,
    what: str,
) -> Iterator[Check]:
    """One check: how much `stronger` breaks that `weaker` does not."""
    if weaker is None or stronger is None:
        yield skipped(name, question, "not run: the audit suite has no such attack")
        return
    share, error = more_broken(weaker, weaker & stronger)
    yield judge(
        name,
        question,
        share,
        pass_at=pass_at,
        fail_at=fail_at,
        error=error,
        sentence=f"{what} breaks {points(share)} beyond it.",
    )
