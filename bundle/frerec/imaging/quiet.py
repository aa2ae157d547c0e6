"""Silence for libraries: they quote header values, and one file of theirs can fill a terminal."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pydicom.config  # noqa: F401  (sets the level of its logger on import, so that comes before ours)
from torch.utils.data import get_worker_info

#: Loggers that speak of the files read and written. A level reaches children, which a filter does not;
#: "nibabel.global" has a handler of its own.
LIBRARIES = (
    "pydicom", "highdicom", "pylibjpeg", "libjpeg", "openjpeg", "rle", "jpeg_ls", "nibabel", "nibabel.global",
    "tifffile", "PIL", "matplotlib",
)  # fmt: skip
_SILENT = logging.CRITICAL + 1

_lock = threading.RLock()
_depth = 0
_levels: dict[str, int] = {}
_whole_process = False


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep Python warnings, the logs of libraries and what C libraries print off the terminal.

    Many quote the values of header elements they find odd, and a patient's name must not reach a log. What a user has
    to know about a file is told by our own readers and writers, in the manifest. May be nested and used by several
    threads. What C code writes to the standard error (libtiff, libjpeg) is held back only in processes that nobody
    else speaks in: after :func:`quiet_process`, and in the workers of a data loader.
    """
    _hush()
    try:
        with warnings.catch_warnings(), _no_standard_error():
            warnings.simplefilter("ignore")
            yield
    finally:
        _release()


def quiet_process() -> None:
    """Keep them silent for the rest of this process, a program of its own, and of the workers it forks.

    Python warnings that a user asked for (``-W``, ``PYTHONWARNINGS``) still come.
    """
    global _whole_process
    if _whole_process:
        return
    _whole_process = True
    _hush()
    # a closed or full terminal must not turn a line of the log into a traceback
    logging.raiseExceptions = False
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _hush() -> None:
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            for name in LIBRARIES:
                logger = logging.getLogger(name)
                _levels[name] = logger.level
                logger.setLevel(_SILENT)


def _release() -> None:
    global _depth
    with _lock:
        _depth -= 1
        if _depth == 0:
            for name, level in _levels.items():
                logging.getLogger(name).setLevel(level)


@contextmanager
def _no_standard_error() -> Iterator[None]:
    """Send file descriptor 2 nowhere; Python's own ``sys.stderr`` is flushed first, so nothing of it is lost."""
    if not (_whole_process or get_worker_info() is not None):
        yield
        return
    kept = None
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            kept = os.dup(2)
            os.dup2(nowhere, 2)
        finally:
            os.close(nowhere)
    try:
        yield
    finally:
        if kept is not None:
            os.dup2(kept, 2)
            os.close(kept)
