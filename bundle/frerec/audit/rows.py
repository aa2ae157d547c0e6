"""The results of an audit as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = ("comparison", "measure", "value", "low", "high", "n", "n_reference")


def metrics_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each measured number of an audit: the keys of :data:`COLUMNS`; interval empty where not known."""
    rows: list[dict[str, Any]] = []
    for name, comparison in result["comparisons"].items():
        counts = {"n": comparison["n"], "n_reference": comparison["n_reference"]}
        for kind in ("gap", "detector", "ringing"):
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
