"""Freed memory stays with the process: the next tensor costs no page faults."""

import subprocess
import sys

import pytest

from pipeline.host_memory import keep_freed_memory

PROGRAM = """
import resource
import torch
from pipeline.host_memory import keep_freed_memory

def fill(times):
    for _ in range(times):
        torch.ones(12 << 20)

keep_freed_memory()
fill(40)  # until small blocks between the large ones have found their places
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill(20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="the C library is not glibc")
def test_a_second_tensor_is_laid_where_the_first_was() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    # A tensor has 12,288 pages.
    assert int(run.stdout) < 4096
