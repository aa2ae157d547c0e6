"""Results as plain files: numbers that JSON knows, rows for CSV."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import torch

from frerec.files import atomic_write


def plain(value: Any) -> Any:
    """Turn a result into what JSON can hold: tensors are left out, numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items() if not isinstance(v, torch.Tensor)}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def write_json(path: str | PathLike[str], content: Any) -> None:
    """Write :func:`plain` content as JSON."""
    with atomic_write(path, "w") as stream:
        stream.write(json.dumps(plain(content), indent=1, allow_nan=False) + "\n")


def write_csv(path: str | PathLike[str], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV; a row may lack columns, and what is in no column is left out."""
    with atomic_write(path, "w") as stream:
        writer = csv.DictWriter(stream, columns, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(plain(row) for row in rows)
