"""What libraries print while a sweep runs goes to its log; the terminal is left to the sweep."""

import contextlib
import os
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import TextIO

FILE_NAME = "sweep.log"


@contextlib.contextmanager
def engine_log(path: Path) -> Iterator[tuple[TextIO, FileIO]]:
    """Whatever this process prints, warns or logs is appended to a file, C++ libraries included.

    Descriptors 1 and 2 are the file's until the end, as no setting of Ray's or MLflow's reaches
    all that they print.

    Args:
        path: Of the file; its folder is made.

    Yields:
        A stream to where standard output went before, and the file, unbuffered.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(FileIO(path, "a"))
        kept = {number: os.dup(number) for number in (1, 2)}
        # Where sys.stdout is something else, a test's capture say, it is the user's window.
        terminal = sys.stdout
        if _descriptor(sys.stdout) == 1:
            shown = os.fdopen(os.dup(1), "w", 1, encoding="utf-8", errors="replace")
            terminal = stack.enter_context(shown)
        for number in kept:
            os.dup2(log.fileno(), number)
        try:
            yield terminal, log
        finally:
            with contextlib.suppress(OSError):  # on a full disk
                for stream in (sys.stdout, sys.stderr):
                    stream.flush()
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None
