"""A sweep's command that kills itself, -9, at a chosen place: `driver.py PLACE ARGUMENT...`.

PLACE is `before` or `after`, `module:Class.method` or `module:function`, and the number of the
call, with slashes between; or `nowhere`.
"""

import functools
import importlib
import os
import signal
import sys
import threading

from pipeline.sweep import main


def arm(place: str) -> None:
    """Make the chosen call the process's last."""
    when, target, number = place.split("/")
    module, _, path = target.partition(":")
    owner = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original, lock, calls = getattr(owner, name), threading.Lock(), 0

    @functools.wraps(original)
    def fatal(*args, **kwargs):
        nonlocal calls
        with lock:
            calls += 1
            last = calls == int(number)
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, fatal)


if __name__ == "__main__":
    if sys.argv[1] != "nowhere":
        arm(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
