"""Ctrl-C once: finish cleanly. Twice: stop now. Nothing that is finished is lost either way."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

STOPPED = 130
"""Exit code after an interruption."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM raise KeyboardInterrupt the first time and end the process the second.

    While Ray Tune runs, its own way to end a run (its handler of SIGUSR1) is taken instead, and
    whoever called it finds out by what it returns.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            sys.stderr.write("stopped at once; nothing finished is lost, --resume continues\n")
            sys.stderr.flush()
            os._exit(STOPPED)
        asked = True
        sys.stderr.write("\nfinishing; once more stops at once\n")
        sys.stderr.flush()
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
