"""Which of several processes this is, where it was started together with others, as by ``torchrun``."""

from __future__ import annotations

import os

from frerec.errors import ConfigError


def rank() -> int:
    """The number of this process: the environment variable ``RANK``; 0 where it works alone.

    Raises:
        ConfigError: the variable is not a whole number from 0 on.
    """
    return _number("RANK") if _in_company() else 0


def world_size() -> int:
    """The number of processes: the environment variable ``WORLD_SIZE``; 1 where this one works alone.

    Raises:
        ConfigError: the variable is not a whole number from 0 on.
    """
    return _number("WORLD_SIZE") if _in_company() else 1


def _in_company() -> bool:
    # one alone, left over from something else, would silently leave most of the work undone
    return bool(os.environ.get("RANK") and os.environ.get("WORLD_SIZE"))


def _number(name: str) -> int:
    text = os.environ[name]
    if not (text.isascii() and text.isdigit()):
        remedy = "Unset this environment variable, or start by torchrun, which sets it"
        raise ConfigError(name, text, "not a whole number from 0 on", remedy)
    return int(text)
