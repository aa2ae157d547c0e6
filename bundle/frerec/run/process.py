"""What every workflow does to its own process, and what it owes to those started together with it."""

from __future__ import annotations

import ctypes
import os
import platform
import time
from datetime import timedelta

import torch

from frerec.run.failure import tell_failures

#: Environment variable that leaves the allocator as it is when set to ``0``.
SWITCH = "FREREC_KEEP_MEMORY"

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8


_FINISHED = "frerec/finished"
_INTERVAL_S = 0.2


def prepare_process() -> None:
    """Answer for errors, keep freed memory and take a GPU of one's own; the one step of ``initialize``.

    See :func:`frerec.run.failure.tell_failures`, which comes first so that it answers for all else,
    :func:`keep_freed_memory` and :func:`choose_gpu`.
    """
    tell_failures()
    keep_freed_memory()
    choose_gpu()


def choose_gpu() -> None:
    """Make ``cuda`` mean another GPU in each of the processes that ``torchrun`` started on this machine.

    They are dealt out by the environment variable ``LOCAL_RANK``. Nothing is done without it, or without a GPU.
    """
    local_rank = os.environ.get("LOCAL_RANK", "")
    if local_rank.isdigit() and torch.cuda.is_available():
        torch.cuda.set_device(int(local_rank) % torch.cuda.device_count())


def wait_for_others() -> None:
    """Wait until the other processes of a ``torchrun`` have finished their shares; returns at once without one.

    ``torchrun`` ends all processes as soon as one ends with a code other than 0, and one broken image is enough for
    that. They tell each other through the store that ``torchrun`` itself keeps; no process group is needed. If one
    dies, ``torchrun`` ends those that wait.
    """
    if not torch.distributed.is_available() or not torch.distributed.is_torchelastic_launched():
        return
    try:
        store, _rank, count = next(torch.distributed.rendezvous("env://", timeout=timedelta(seconds=60)))
        if store.add(_FINISHED, 1) == count:
            store.set(f"{_FINISHED} by all", "yes")
        # not store.wait, which would not hear of signals
        while not store.check([f"{_FINISHED} by all"]):
            time.sleep(_INTERVAL_S)
    except RuntimeError:
        # whoever kept the store is gone, and with it all that could be waited for
        return


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
