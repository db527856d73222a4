"""Ctrl-C once: finish cleanly. Twice: stop now. Nothing that is finished is lost either way."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

STOPPED = 130
"""Exit code after an interruption."""


SHOW_CURSOR = "\x1b[?25h"
"""What a terminal is told, as a process that ends at once cannot put away what it draws."""


@contextlib.contextmanager
def interruptible(out: TextIO | None = None) -> Iterator[None]:
    """SIGINT and SIGTERM raise KeyboardInterrupt the first time and end the process the second.

    While Ray Tune runs, its own way to end a run (its handler of SIGUSR1) is taken instead, and
    whoever called it finds out by what it returns.

    Args:
        out: Where a person is told; by default standard error.
    """
    told = out or sys.stderr
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            shown = SHOW_CURSOR if told.isatty() else ""
            told.write(f"{shown}stopped at once; nothing finished is lost, --resume continues\n")
            told.flush()
            os._exit(STOPPED)
        asked = True
        told.write("\nfinishing; once more stops at once\n")
        told.flush()
        softly = signal.getsignal(signal.SIGUSR1)
        if callable(softly):
            softly(number, frame)
        else:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
