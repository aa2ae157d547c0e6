"""The errors a user may meet, each with what was wrong, where, and what to do about it."""

from __future__ import annotations

from os import PathLike
from typing import Any

from frerec.files import printable

# Exit codes, see docs/reference/exit_codes.md.
EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_NOTHING_DONE = 2
#: A wrong setting, path or file ends the program.
EXIT_PREFLIGHT = 3
EXIT_BROKE_OFF = 4
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class FreRecError(Exception):
    """Base of every error this package raises on purpose."""


class _PathError(FreRecError):
    """What is wrong with a file or folder.

    Args:
        path: the file or folder.
        reason: what is wrong with it, in one sentence without a full stop.
        remedy: what the user can do, in one sentence without a full stop.
    """

    def __init__(self, path: str | PathLike[str], reason: str, remedy: str) -> None:
        super().__init__(path, reason, remedy)
        self.path, self.reason, self.remedy = str(path), reason, remedy

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.reason}. {self.remedy}.")


class InputError(_PathError):
    """A file or folder that cannot be used; arguments ``path``, ``reason`` and ``remedy``."""


class OutputError(_PathError):
    """An output that could not be written although the run had begun; once that is mended, the same command goes on."""


class ConfigError(FreRecError):
    """A config id or argument whose value cannot be used.

    Args:
        config_id: the id as the user writes it on the command line, for example ``mask_ratio``.
        value: the offending value.
        reason: what is wrong with it, in one sentence without a full stop.
        remedy: what the user can do, in one sentence without a full stop.
    """

    def __init__(self, config_id: str, value: Any, reason: str, remedy: str) -> None:
        super().__init__(config_id, value, reason, remedy)
        self.config_id, self.value, self.reason, self.remedy = config_id, value, reason, remedy

    def __str__(self) -> str:
        return printable(f"{self.config_id}={self.value!r}: {self.reason}. {self.remedy}.")
