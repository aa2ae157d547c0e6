"""The settings a run's outputs depend on, and their fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from frerec import __version__
from frerec.files import file_sha256
from frerec.io.provenance import canonical_json


@lru_cache(maxsize=32)
def _sha256_of_version(path: str, size: int, modified_ns: int) -> str:
    return file_sha256(Path(path))


def run_settings(
    files: Mapping[str, str | None] | None = None, reported_by: Iterable[Any] = (), **values: Any
) -> dict[str, Any]:
    """Collect everything an output depends on besides its input.

    What only steers how the work is done (device, batch size, workers, sharding) does not belong here: a folder may
    be finished on another machine.

    Args:
        files: name to path of files the outputs depend on, such as ``{"bank": ..., "weights": ...}``; they enter by
            checksum, as ``bank_sha256``, not by path. None for one that is not used.
        reported_by: transforms, or compositions of them. What those with a method ``settings`` say of themselves
            replaces ``values``: a component knows what it applies, whichever way it was told.
        values: plain settings: numbers, strings, booleans, None, lists of them. A setting that a component reports
            stands here as what holds where that component is left out.

    Returns:
        A plain dict, ready for JSON, with ``frerec_version``.

    Raises:
        OSError: one of ``files`` cannot be read.
    """
    settings = {"frerec_version": __version__, **values}
    for transform in reported_by:
        for part in getattr(transform, "transforms", [transform]):
            if hasattr(part, "settings"):
                settings |= part.settings()
    for name, path in (files or {}).items():
        stat = Path(path).stat() if path else None
        settings[f"{name}_sha256"] = (
            _sha256_of_version(str(Path(str(path)).resolve()), stat.st_size, stat.st_mtime_ns) if stat else None
        )
    return settings


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Short name of a set of settings: the first 16 hexadecimal digits of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical_json(settings).encode("ascii")).hexdigest()[:16]
