"""A finished run as a file: what was run, and its predictions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frerec.errors import InputError
from frerec.study.cache import write_atomic

FORMAT = 1


@dataclass(frozen=True, order=True)
class Cell:
    """The circumstances under which arms are compared.

    Args:
        classifier: name of the classifier.
        label_fraction: share of the real training images in use.
        synthetic_ratio: synthetic images per real one.
    """

    classifier: str
    label_fraction: float
    synthetic_ratio: float

    def __str__(self) -> str:
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
        words = [self.arm, self.cell.classifier, f"{self.cell.label_fraction:g}", f"seed{self.seed}", self.key[:12]]
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


def digest(content: Any) -> str:
    """SHA-256 of plain data, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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
    write_atomic(path, (json.dumps(content, indent=None) + "\n").encode())
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
