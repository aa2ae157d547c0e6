"""Finished runs as files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from frerec.errors import InputError
from frerec.study.records import Cell, Record, Run, by_cell, digest, read_record, read_records, write_record


def record(arm: str = "GDA+FreRec all", seed: int = 0, ratio: float = 1.0) -> Record:
    probabilities = np.random.default_rng(seed).dirichlet([1, 1, 1], 9)
    run = Run(arm, Cell("small_resnet", 0.25, ratio), seed, digest([arm, seed]))
    return Record(run, np.arange(9) % 3, np.arange(9), probabilities, "0" * 64, {"val_auc": 0.5})


def test_a_record_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    written = record()
    # Saturated predictions keep their order.
    written.probabilities[0] = [1 - 1e-16, 1e-16, 1e-300]
    found = read_record(write_record(tmp_path, written))
    assert found.run == written.run
    assert found.details == written.details
    for name in ("labels", "units", "probabilities"):
        assert np.array_equal(getattr(found, name), getattr(written, name))


def test_names_are_safe_and_tell_runs_apart(tmp_path: Path) -> None:
    names = {record(arm, seed).run.file_name for arm in ("GDA", "GDA+SHR", "a/../b: c*") for seed in (0, 1)}
    assert len(names) == 6
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") for name in names)
    assert write_record(tmp_path, record("a/../b: c*")).parent == tmp_path


def test_runs_without_synthetic_images_serve_every_ratio(tmp_path: Path) -> None:
    write_record(tmp_path, record("RAW"))
    wanted = replace(record("RAW").run, cell=Cell("small_resnet", 0.25, 4.0))
    found = read_records(tmp_path, [wanted, record("GDA").run])
    assert list(found) == [wanted]
    assert found[wanted].run == wanted


def test_records_are_sorted_into_cells() -> None:
    cells = by_cell([record("RAW", 0), record("RAW", 1), record("GDA", 0), record("GDA", 0, ratio=2.0)])
    assert {
        cell.synthetic_ratio: {arm: list(seeds) for arm, seeds in arms.items()} for cell, arms in cells.items()
    } == {
        1.0: {"RAW": [0, 1], "GDA": [0]},
        2.0: {"GDA": [0]},
    }


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"format": 99}), json.dumps({"format": 1, "run": {}})])
def test_a_file_that_is_no_record_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"run\.json.*not a finished run"):
        read_record(path)
