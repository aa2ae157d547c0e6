"""Every workflow offers the properties by which other MONAI programs get hold of a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow

from tests.bundle.conftest import SmallCohort


def workflow(root: Path, name: str, kind: str, cohort: SmallCohort, output_dir: Path, **ids: Any) -> ConfigWorkflow:
    """A workflow parsed but not started: what it would check before running needs no part in this."""
    path = root / "configs" / f"{name}.json"
    given = {
        "dataset_dir": str(cohort.folder),
        "real_dir": str(cohort.folder),
        "synthetic_dir": str(cohort.folder),
        "bank_path": str(cohort.bank),
        "weights_path": str(cohort.weights),
        "output_dir": str(output_dir),
        "top_k": 4,
        "image_size": [64, 64],
        "crop_size": [32, 32],
        "device": "cpu",
    }
    known = json.loads(path.read_text()).keys()
    chosen = {key: value for key, value in given.items() if key in known} | ids
    made = ConfigWorkflow(str(path), workflow_type=kind, logging_file=False, **chosen)
    made.initialize()
    return made


@pytest.mark.parametrize(("name", "kind"), [("inference", "infer"), ("evaluate", "infer"), ("train", "train")])
def test_no_property_is_missing(
    bundle_root: Path, small_cohort: SmallCohort, tmp_path: Path, name: str, kind: str
) -> None:
    ids = {"datalist": str(small_cohort.datalist)} if kind == "train" else {}
    made = workflow(bundle_root, name, kind, small_cohort, tmp_path, **ids)
    assert made.check_properties() == []
    assert made.bundle_root == str(bundle_root)
    assert str(made.device) == "cpu"


def test_properties_can_be_set(bundle_root: Path, small_cohort: SmallCohort, tmp_path: Path) -> None:
    made = workflow(bundle_root, "train", "train", small_cohort, tmp_path, datalist=str(small_cohort.datalist))
    made.max_epochs = 3
    made.initialize()
    assert made.trainer.state.max_epochs == 3
    assert len(made.train_dataset) == 18
