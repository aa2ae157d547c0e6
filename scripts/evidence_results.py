"""What the rare-class runs say: differences between arms in a cell and over cells, with intervals.

Where the files of the runs lie beside results.jsonl, intervals take test patients and seeds as samples; from the lines
alone, seeds only, and :attr:`Results.seeds_only` says so.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bundle"))

from frerec.study.records import read_record  # noqa: E402
from frerec.study.results import case_weights  # noqa: E402
from frerec.study.statistics import Estimate, Replicates, average, replicate  # noqa: E402

#: A generator counts as biased from this gap in the high band on, in decades; fixed before any classifier was trained.
BIASED = 0.3
PAIRS = (("GDA", "RAW"), ("GDA+FreRec", "GDA"), ("GDA+FreRec", "RAW"))


class Cell(NamedTuple):
    """The circumstances of runs that are compared."""

    set: str
    generator: str
    rare_class: str
    rare_fraction: float
    classifier: str
    setting: str = ""
    rare_validation: bool = False

    @property
    def kind(self) -> str:
        """What cells must have in common to be averaged."""
        return f"{self.classifier}{', rare in validation too' if self.rare_validation else ''}"


class Results:
    """The runs that there are.

    Args:
        evidence: folder of scripts/evidence.py.
        draws: bootstrap resamples.
    """

    def __init__(self, evidence: Path, draws: int) -> None:
        self.evidence, self.draws, self.seeds_only = evidence, draws, False
        self.rows: dict[Cell, dict[str, dict[int, dict[str, Any]]]] = {}
        listed = evidence / "runs" / "results.jsonl"
        for row in map(json.loads, listed.read_text().splitlines() if listed.is_file() else ()):
            cell = Cell(**{key: row[key] for key in Cell._fields if key in row})
            self.rows.setdefault(cell, {}).setdefault(row["arm"], {})[row["seed"]] = row
        self._known: dict[tuple[Cell, str], Replicates] = {}
        self._weights: dict[str, Any] = {}

    @cached_property
    def cells(self) -> list[Cell]:
        """Those of the shipped settings with the three arms that matter."""
        wanted = {arm for pair in PAIRS for arm in pair}
        return sorted(cell for cell, arms in self.rows.items() if not cell.setting and wanted <= arms.keys())

    @cached_property
    def biased(self) -> list[Cell]:
        """Those whose generator the audit finds biased."""
        gaps = {cell: self.audit(cell) for cell in self.cells}
        return [cell for cell, found in gaps.items() if found and before(found, "gap", "high") >= BIASED]

    def audit(self, cell: Cell) -> Any:
        """What the audit of the generator measured, None where there was none."""
        return read(self.evidence / "audits" / cell.set / cell.generator / "metrics.json")

    def auc(self, cell: Cell, arm: str) -> Replicates:
        """AUC of an arm with its bootstrap."""
        if (cell, arm) not in self._known:
            rows = self.rows[cell][arm]
            paths = {s: self.evidence / "runs" / cell.set / "runs" / row["run"] for s, row in rows.items()}
            if all(path.is_file() for path in paths.values()):
                records = {seed: read_record(path) for seed, path in paths.items()}
                first = next(iter(records.values()))
                if first.test_set not in self._weights:
                    self._weights[first.test_set] = case_weights(first, self.draws)
                found = replicate({seed: record.predictions for seed, record in records.items()},
                                  self._weights[first.test_set], len(set(first.units.tolist())))  # fmt: skip
            else:
                self.seeds_only = True
                values = np.array([row["auc"] for _, row in sorted(rows.items())])
                found = Replicates(tuple(sorted(rows)), values, np.tile(values, (self.draws, 1)), 10**6)
            self._known[cell, arm] = found
        return self._known[cell, arm]

    def difference(self, cells: Iterable[Cell], arm: str, reference: str) -> Estimate:
        """Mean difference of two arms over cells, each with the same weight."""
        return average([self.auc(cell, arm) - self.auc(cell, reference) for cell in cells]).estimate()

    def mean(self, cell: Cell, arm: str, key: str) -> float:
        """Mean over seeds of what a line tells."""
        return float(np.mean([row[key] for row in self.rows[cell][arm].values()]))


def read(path: Path) -> Any:
    """A JSON file, or None where it is missing."""
    return json.loads(path.read_text()) if path.exists() else None


def before(audit: Any, *keys: str) -> float:
    """A measure of an audit on the images as generated; NaN where it was not made."""
    found = audit["comparisons"]["before"]
    for key in keys:
        found = found.get(key, {})
    return float(found.get("value", np.nan))


def pools(results: Results) -> list[tuple[str, list[Cell]]]:
    """Cells that are averaged, by their kind: all, and those with a biased generator."""
    found = []
    for kind in dict.fromkeys(cell.kind for cell in results.cells):
        for name, cells in (("all cells", results.cells), (f"gap of {BIASED} or more", results.biased)):
            chosen = [cell for cell in cells if cell.kind == kind]
            if chosen:
                found.append((f"{name}, {kind} ({len(chosen)})", chosen))
    return found


def number(value: float, sign: str = "") -> str:
    """Three digits without the leading zero."""
    return re.sub(r"^([+-]?)0\.", r"\1.", f"{value:{sign}.3f}")


def shown(found: Estimate) -> str:
    """A difference with its interval."""
    return f"{number(found.value, '+')} ({number(found.low, '+')} to {number(found.high, '+')})"
