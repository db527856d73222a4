"""Engines print into the sweep's log, whatever they print with; the terminal is the sweep's."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.console import Progress
from pipeline.engine_log import engine_log

ROOT = Path(__file__).parents[1]
NOISY = """
import logging, os, subprocess, sys, warnings
from pathlib import Path
from pipeline.console import Progress
from pipeline.engine_log import engine_log

handler = logging.StreamHandler()
with engine_log(Path(sys.argv[1]) / "new" / "sweep.log") as (terminal, log):
    console = Progress(terminal, log=log)
    console.line("of ours")
    print("printed")
    warnings.warn("warned")
    logging.getLogger("ray").addHandler(handler)
    logging.getLogger("ray").error("logged")
    os.write(2, b"from C++\\n")
    subprocess.run(["echo", "a child"], check=True)
print("afterwards")
logging.getLogger("ray").error("later")
raise RuntimeError("told in full")
"""


def test_all_that_engines_print_goes_to_the_log(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", NOISY, tmp_path], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ran.stdout.splitlines()[0].endswith("of ours")
    assert ran.stdout.splitlines()[1:] == ["afterwards"]
    assert ran.stderr.startswith("later\n")
    assert "RuntimeError: told in full" in ran.stderr
    told = (tmp_path / "new/sweep.log").read_text()
    for part in ("of ours", "printed", "warned", "logged", "from C++", "a child"):
        assert part in told
    assert "afterwards" not in told


def test_a_log_is_continued_and_a_full_disk_stops_nobody(tmp_path):
    for number in range(2):
        with engine_log(tmp_path / "log") as (terminal, log):
            Progress(terminal, log=log).detail(f"run {number}")
    assert [text.split("  ")[-1] for text in (tmp_path / "log").read_text().splitlines()] == [
        "run 0",
        "run 1",
    ]
    if os.path.exists("/dev/full"):
        with engine_log(Path("/dev/full")) as (terminal, log):
            Progress(terminal, log=log).line("goes on")
