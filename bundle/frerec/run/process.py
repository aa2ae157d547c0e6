"""What every workflow does to its own process before anything else."""

from __future__ import annotations

from frerec.run.failure import tell_failures
from frerec.run.memory import keep_freed_memory


def prepare_process() -> None:
    """Answer for errors and keep freed memory; the one step of ``initialize``.

    See :func:`frerec.run.failure.tell_failures`, which comes first so that it answers for all else, and
    :func:`frerec.run.memory.keep_freed_memory`.
    """
    tell_failures()
    keep_freed_memory()
