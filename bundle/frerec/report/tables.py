"""Results as plain files: numbers that JSON knows, one row a number for CSV."""

from __future__ import annotations

import csv
import io
import math
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

COLUMNS = ("comparison", "measure", "value", "low", "high", "n", "n_reference")


def plain(value: Any) -> Any:
    """Turn a result into what JSON can hold: tensors are left out, numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items() if not isinstance(v, torch.Tensor)}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def metrics_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each measured number of an audit: the keys of :data:`COLUMNS`; interval empty where not known."""
    rows: list[dict[str, Any]] = []
    for name, comparison in result["comparisons"].items():
        counts = {"n": comparison["n"], "n_reference": comparison["n_reference"]}
        for kind in ("gap", "detector"):
            for measure, interval in comparison.get(kind, {}).items():
                rows.append({"comparison": name, "measure": f"{kind}/{measure}", **interval})
        for measure, value in comparison.get("distribution", {}).items():
            if measure not in ("n", "n_reference", "neighbours"):
                rows.append({"comparison": name, "measure": f"distribution/{measure}", "value": value, **counts})
        for measure in ("angular", "peak", "peak_z"):
            if measure in comparison.get("map", {}):
                value = comparison["map"][measure]
                rows.append({"comparison": name, "measure": f"map/{measure}", "value": value, **counts})
    for side, fidelity in result["fidelity"].items():
        for measure in ("psnr", "ssim", "ms_ssim"):
            if measure in fidelity:
                row = {"comparison": f"fidelity of {side}", "measure": measure, "n": fidelity["n"]}
                rows.append({**row, "value": fidelity[measure]["mean"]})
    for group in ("synthetic", "recalibrated"):
        if group in result["copies"]:
            found = result["copies"][group]
            row = {"comparison": f"copies in {group}", "measure": "suspects", "n": found["n"]}
            rows.append({**row, "value": found["suspects"], "n_reference": result["copies"]["n_reference"]})
    return rows


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    part = path.with_name(f".{secrets.token_hex(8)}.frerec-part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write :func:`metrics_rows` as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain(row) for row in rows)
    write_bytes(path, stream.getvalue().encode())
