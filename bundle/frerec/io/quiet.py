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
_kept: int | None = None
_whole_process = False


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep Python warnings, the logs of libraries and what C libraries print off the terminal.

    Many quote the values of header elements they find odd, and a patient's name must not reach a log. What a user has
    to know about a file is told by our own readers and writers, in the manifest. May be nested and used by several
    threads. What C code writes to the standard error (libtiff, libjpeg) is held back only in processes that nobody
    else speaks in: after :func:`quiet_process`, and in the workers of a data loader.
    """
    _hush(get_worker_info() is not None)
    try:
        with warnings.catch_warnings():
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
    with _lock:
        _set_levels()
    # Python speaks through a descriptor of its own from here on, so that bars and last words are never held back
    with suppress(OSError, ValueError, AttributeError):
        if sys.stderr.fileno() == 2:
            sys.stderr.flush()
            sys.stderr = os.fdopen(os.dup(2), "w", 1, encoding=sys.stderr.encoding, errors="backslashreplace")
    # a closed or full terminal must not turn a line of the log into a traceback
    logging.raiseExceptions = False
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _set_levels() -> None:
    for name in LIBRARIES:
        logger = logging.getLogger(name)
        _levels.setdefault(name, logger.level)
        logger.setLevel(_SILENT)


def _hush(in_worker: bool) -> None:
    """The first of nested or parallel blocks silences, the last one gives the voice back."""
    global _depth
    with _lock:
        _depth += 1
        if _depth > 1:
            return
        _set_levels()
        if _whole_process or in_worker:
            _close_standard_error()


def _release() -> None:
    global _depth
    with _lock:
        _depth -= 1
        if _depth > 0:
            return
        _open_standard_error()
        if not _whole_process:
            for name in LIBRARIES:
                logging.getLogger(name).setLevel(_levels.pop(name))


def _open_standard_error() -> None:
    global _kept
    if _kept is not None:
        os.dup2(_kept, 2)
        os.close(_kept)
        _kept = None


def _close_standard_error() -> None:
    """Send file descriptor 2 nowhere and keep a copy of it, noted first: an interrupt may come at any line."""
    global _kept
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    with suppress(OSError):
        _kept = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
        finally:
            os.close(nowhere)
