"""One thing found, and what to do about it."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")
HERE = "this machine"


class Status(StrEnum):
    """What a finding means; a FAIL stops a sweep, or makes its result worthless."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    SKIPPED = "SKIPPED"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found at one place."""

    status: Status
    name: str
    """Of the check."""
    where: str
    """A machine, as Ray names its nodes."""
    found: str
    """One sentence."""
    remedy: str = ""
    """One sentence on what to do; empty only where the status is OK."""

    def __post_init__(self) -> None:
        assert self.status is Status.OK or self.remedy, f"{self.name}: what is to be done?"

    @classmethod
    def ok(cls, name: str, found: str, where: str = HERE) -> "Finding":
        """Nothing to do."""
        return cls(status=Status.OK, name=name, where=where, found=found)

    @classmethod
    def warn(cls, name: str, found: str, remedy: str, where: str = HERE) -> "Finding":
        """A sweep runs, but slower or less safely than it could."""
        return cls(status=Status.WARN, name=name, where=where, found=found, remedy=remedy)

    @classmethod
    def fail(cls, name: str, found: str, remedy: str, where: str = HERE) -> "Finding":
        """A sweep would stop, or must not be trusted."""
        return cls(status=Status.FAIL, name=name, where=where, found=found, remedy=remedy)

    @classmethod
    def skipped(cls, name: str, found: str, remedy: str, where: str = HERE) -> "Finding":
        """Nothing was checked, or what is absent may be absent."""
        return cls(status=Status.SKIPPED, name=name, where=where, found=found, remedy=remedy)


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """An error's text without line breaks, with its type where the text alone says little."""
    text = " ".join(str(error).split())
    if isinstance(error, BaseException) and len(text.split()) < 3:
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def within(seconds: float, call: Callable[[], T]) -> T:
    """The call's result; the call goes on by itself where it takes longer.

    Raises:
        TimeoutError: No result came in this time: a dead file server hangs for ever.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def act() -> None:
        try:
            results.append(call())
        except BaseException as error:  # handed to the caller, whatever it is
            errors.append(error)

    thread = threading.Thread(target=act, name="within", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return results[0]


def guarded(
    name: str, check: Callable[[], Iterable[Finding]], timeout_s: float
) -> Iterator[Finding]:
    """The check's findings; one that raises or hangs is a finding, too."""
    try:
        yield from within(timeout_s, lambda: list(check()))
    except Exception as error:  # the doctor shows no traceback
        yield Finding.fail(
            name,
            f"The check itself failed: {one_line(error)}.",
            "Mend what the message names; if it names nothing of yours, report it as a bug.",
        )


def report(findings: Iterable[Finding]) -> dict[str, Any]:
    """All findings as JSON holds them, under the worst status."""
    rows = [
        {
            "status": str(finding.status),
            "name": finding.name,
            "where": finding.where,
            "found": finding.found,
            "remedy": finding.remedy,
        }
        for finding in findings
    ]
    return {"status": str(worst(row["status"] for row in rows)), "findings": rows}


def worst(statuses: Iterable[str]) -> Status:
    """FAIL before WARN before OK."""
    seen = set(statuses)
    return next((s for s in (Status.FAIL, Status.WARN) if s in seen), Status.OK)
