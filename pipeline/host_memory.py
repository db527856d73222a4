"""Memory of the process that tensors on a CPU live in."""

import ctypes
import functools

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
"""Numbers of the settings in glibc's `malloc.h`."""


@functools.cache
def keep_freed_memory() -> bool:
    """Have freed memory reused by the next tensor, not given back to the system in between.

    By default glibc asks the system for each large tensor anew, which hands out zeroed pages one
    by one: 4 to 8 % of WRN-16-4's steps. The process keeps the memory of its largest moment until
    it ends, as it does on a GPU.

    Returns:
        Whether this C library can be told so; only glibc can.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))
