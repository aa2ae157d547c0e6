"""What every workflow does to its own process before anything else."""

from __future__ import annotations

import ctypes
import os
import platform

from frerec.run.failure import tell_failures

#: Environment variable that leaves the allocator as it is when set to ``0``.
SWITCH = "FREREC_KEEP_MEMORY"

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8


def prepare_process() -> None:
    """Answer for errors and keep freed memory; the one step of ``initialize``.

    See :func:`frerec.run.failure.tell_failures`, which comes first so that it answers for all else, and
    :func:`keep_freed_memory`.
    """
    tell_failures()
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Let this process keep what it frees: a third to three fifths less processor time for a network on a CPU.

    glibc asks the system for every block beyond some megabytes and hands it back as soon as it is freed. A network
    frees and asks again at every operation, and the system has to clear each page anew. Afterwards such blocks come
    from the heap, which only grows. Results are the same to the last bit; the process stays as large as it once was.

    It is a setting of the whole process, so it is a step of the workflows and never a side effect of an import.
    Processes forked later inherit it. Nothing is done where the C library is not glibc, and where the environment
    variable ``FREREC_KEEP_MEMORY`` is ``0``.

    Returns:
        Whether the setting was made.
    """
    if os.environ.get(SWITCH) == "0" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    # glibc before 2.35 refuses a threshold above 32 MiB; there no block at all is to come from outside the heap
    whole = mallopt(_M_MMAP_THRESHOLD, 1 << 30) or mallopt(_M_MMAP_MAX, 0)
    # one heap for all threads: those of further threads are given back however the threshold is set
    return bool(whole and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1) and mallopt(_M_ARENA_MAX, 1))
