"""A finished run as a file: what was run, and its predictions."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from numpy.typing import NDArray

import frerec
from frerec.errors import InputError
from frerec.files import atomic_write
from frerec.study.measures import Predictions

FORMAT = 1


@dataclass(frozen=True, order=True)
class Cell:
    """The circumstances under which arms are compared.

    Args:
        classifier: name of the classifier.
        label_fraction: share of the real training images in use.
        synthetic_ratio: synthetic images per real one; 0 where a rare class is filled up instead.
        rare_class: class that was made rare; empty for none.
        rare_fraction: share of its real training images in use.
    """

    classifier: str
    label_fraction: float
    synthetic_ratio: float
    rare_class: str = ""
    rare_fraction: float = 1.0

    def __str__(self) -> str:
        if self.rare_class:
            return f"{self.classifier}, {self.label_fraction:.0%} labels, {self.rare_fraction:.0%} of {self.rare_class}"
        return f"{self.classifier}, {self.label_fraction:.0%} labels, {self.synthetic_ratio:g} synthetic per real"


@dataclass(frozen=True)
class Run:
    """One training run of the plan.

    Args:
        arm: name of the arm.
        cell: its circumstances.
        seed: chooses subsets, initial weights, order of batches and augmentation.
        key: digest of data, transforms and settings; another key is another run.
    """

    arm: str
    cell: Cell
    seed: int
    key: str

    @property
    def file_name(self) -> str:
        """Name of the run's file: readable, and safe on every file system."""
        cell = self.cell
        rare = [f"{cell.rare_class}{cell.rare_fraction:g}"] if cell.rare_class else []
        words = [self.arm, cell.classifier, f"{cell.label_fraction:g}", *rare, f"seed{self.seed}", self.key[:12]]
        return "-".join("".join(c if c.isalnum() or c in "._" else "_" for c in word) for word in words) + ".json"


@dataclass(frozen=True)
class Record:
    """A finished run.

    Args:
        run: which one.
        labels: (N,) class numbers of the test cases.
        units: (N,) equal numbers mark test images of one patient.
        probabilities: (N, C) predictions.
        test_set: digest of the test images and labels; equal ones can be compared case by case.
        details: everything else of the file.
    """

    run: Run
    labels: NDArray[np.int64]
    units: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    test_set: str
    details: dict[str, Any]

    @property
    def predictions(self) -> Predictions:
        """What the run says of the test set."""
        details = self.details
        return Predictions(self.probabilities, self.labels, details.get("positive"), details.get("thresholds", {}))


def digest(content: Any) -> str:
    """SHA-256 of plain data, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of what decides the numbers of a run."""
    return {
        "python": platform.python_version(), "torch": torch.__version__, "monai": monai.__version__,
        "frerec": frerec.__version__,
    }  # fmt: skip


def write_record(folder: Path, record: Record) -> Path:
    """Write a finished run below ``folder``; the file appears whole or not at all."""
    path = folder / record.run.file_name
    content = {
        "format": FORMAT,
        "run": asdict(record.run),
        "test_set": record.test_set,
        "labels": record.labels.tolist(),
        "units": record.units.tolist(),
        "probabilities": record.probabilities.tolist(),
        **record.details,
    }
    with atomic_write(path, "w") as stream:
        stream.write(json.dumps(content, indent=None) + "\n")
    return path


def read_record(path: Path) -> Record:
    """Read a finished run.

    Raises:
        InputError: the file is not one of this format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        run = content.pop("run")
        return Record(
            Run(run["arm"], Cell(**run["cell"]), run["seed"], run["key"]),
            np.asarray(content.pop("labels"), dtype=np.int64),
            np.asarray(content.pop("units"), dtype=np.int64),
            np.asarray(content.pop("probabilities"), dtype=np.float64),
            content.pop("test_set"),
            content,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(path, f"not a finished run of a study ({error})", "Delete it; it will be run again") from error


def read_records(folder: Path, runs: Iterable[Run]) -> dict[Run, Record]:
    """The finished ones among ``runs``.

    A run without synthetic images serves every ratio, so the record takes the cell it is asked for.
    """
    paths = {run: folder / run.file_name for run in runs}
    return {run: replace(read_record(path), run=run) for run, path in paths.items() if path.exists()}


def by_cell(records: Iterable[Record]) -> dict[Cell, dict[str, dict[int, Record]]]:
    """Sort finished runs into ``cell -> arm -> seed -> record``."""
    cells: dict[Cell, dict[str, dict[int, Record]]] = {}
    for record in records:
        cells.setdefault(record.run.cell, {}).setdefault(record.run.arm, {})[record.run.seed] = record
    return cells
