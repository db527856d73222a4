"""A file of calls on their way to a server: written first, sent when it answers, once each.

One line a call: its SHA-256, a tab, JSON. What a crash cut short is found by its sum.
"""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.files import set_aside, write_atomically

Call = tuple[str, str, dict[str, Any]]
"""What to do, the call's name, and with what: plain data."""


class Spool:
    """Calls in the order they were made, and how many of them were delivered.

    One process writes; its threads may share it. A call is on the disk when `append` returns.
    """

    def __init__(self, path: Path, receiver: str) -> None:
        """Open a spool, or start one.

        Args:
            path: Its file; how far it was sent stands beside it, in `NAME.sent`.
            receiver: Who gets the calls; another one than last time gets all of them.
        """
        self._path, self._marks = path, path.with_name(path.name + ".sent")
        self._receiver = receiver
        self._lock = threading.Lock()
        self.damaged = ""
        """What was found damaged, a sentence; empty if nothing was."""
        self._calls = self._read()
        self._known = {name for _, name, _ in self._calls}
        self._sent = 0 if self.damaged else self._marked()

    def _read(self) -> list[Call]:
        calls: list[Call] = []
        raw = self._path.read_bytes() if self._path.is_file() else b""
        whole, _, rest = raw.rpartition(b"\n")
        bad = 0
        for line in whole.split(b"\n") if whole else []:
            told, _, body = line.partition(b"\t")
            if hashlib.sha256(body).hexdigest().encode() != told:
                bad += 1
                continue
            what, name, values = json.loads(body)
            calls.append((what, name, values))
        if bad:
            aside = set_aside(self._path)
            self.damaged = f"{self._path}: {bad} lines are damaged; set aside as {aside.name}"
        if bad or rest:  # the last line of a process that died is not a damage
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lines = (_line(call) for call in calls)
            write_atomically(self._path, b"".join(lines))
        return calls

    def _marked(self) -> int:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            marks = json.loads(self._marks.read_text())
            if marks["receiver"] == self._receiver:
                return min(int(marks["sent"]), len(self._calls))
        return 0

    def append(self, what: str, values: dict[str, Any], *, name: str | None = None) -> None:
        """Keep a call.

        Args:
            what: To do.
            values: With what, as plain data.
            name: One that was used before is not kept again; None names the call by all of it,
                and an empty one keeps it in any case.
        """
        text = json.dumps([what, values], sort_keys=True, default=str)
        chosen = hashlib.sha256(text.encode()).hexdigest() if name is None else name
        call: Call = (what, chosen, json.loads(text)[1])
        with self._lock:
            if chosen and chosen in self._known:
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(_line(call))
                file.flush()
                os.fsync(file.fileno())
            self._known.add(chosen)
            self._calls.append(call)

    @property
    def waiting(self) -> int:
        """Calls that are not delivered."""
        with self._lock:
            return len(self._calls) - self._sent

    def deliver(self, send: Callable[[str, dict[str, Any]], None]) -> bool:
        """Send the next call; whether there was one. A call whose sending raises stays the next."""
        with self._lock:
            if self._sent == len(self._calls):
                return False
            what, _, values = self._calls[self._sent]
        send(what, values)
        with self._lock:
            self._sent += 1
            marks = {"receiver": self._receiver, "sent": self._sent}
        write_atomically(self._marks, json.dumps(marks).encode())
        return True

    def send_all_again(self) -> None:
        """The receiver has lost what it got."""
        with self._lock:
            self._sent = 0


def _line(call: Call) -> bytes:
    body = json.dumps(call, sort_keys=True).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\t" + body + b"\n"
