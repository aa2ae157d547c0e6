"""Silence for libraries whose messages quote header values."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class _Nothing(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return False


_NOTHING = _Nothing()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep Python warnings and pydicom's log off the terminal.

    Both quote the values of header elements they find odd, and a patient's name must not reach a log. What a user has
    to know about a file is told by our own readers and writers, in the manifest.
    """
    logger = logging.getLogger("pydicom")
    logger.addFilter(_NOTHING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeFilter(_NOTHING)
