"""What a record says was applied is what was applied, whichever way a setting was given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from frerec.rhm.precision import applied_precision
from tests.bundle.conftest import SmallCohort
from tests.conftest import BundleCommand


@pytest.fixture
def small_folder(small_cohort: SmallCohort, tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("03.png", "07.png"):
        (folder / name).write_bytes((small_cohort.folder / name).read_bytes())
    return folder


def records(folder: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "manifest.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in ("seconds", "finished")} for line in lines]


def test_both_ways_to_set_the_strength_are_one(
    bundle_root: Path, small_cohort: SmallCohort, small_folder: Path, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    def run(output: str, *words: object) -> str:
        given = ("--dataset_dir", small_folder, "--bank_path", small_cohort.bank, "--top_k", 4)
        shared = (*given, "--weights_path", small_cohort.weights, "--output_dir", tmp_path / output)
        config = bundle_root / "configs" / "inference.json"
        return bundle_command("run", "--config_file", config, *shared, *words).stdout

    run("id", "--strength", 0.65)
    run("shown", "--displayable_configs::strength", 0.65)
    assert records(tmp_path / "id") == records(tmp_path / "shown")
    for record in records(tmp_path / "shown"):
        assert record["settings"]["strength"] == record["applied"]["shr"]["strength"] == 0.65
        sidecar = json.loads((tmp_path / "shown" / f"{record['path']}.json").read_text())
        assert sidecar["settings"]["strength"] == 0.65
    # the resume check sees either way as the same, and another value as another
    assert "0 done, 2 done before" in run("id", "--displayable_configs::strength", 0.65)
    assert "2 done, 0 done before" in run("id", "--displayable_configs::strength", 0.25)


def settings(root: Path, cohort: SmallCohort, **ids: Any) -> dict[str, Any]:
    parser = ConfigParser()
    parser.read_config(str(root / "configs" / "inference.json"))
    given = {"bundle_root": str(root), "bank_path": str(cohort.bank), "weights_path": str(cohort.weights), "top_k": 4}
    parser.update({**given, "device": "cpu", **ids})
    return parser.get_parsed_content("manifest").settings


def test_what_is_switched_off_is_not_recorded_as_applied(bundle_root: Path, small_cohort: SmallCohort) -> None:
    whole = settings(bundle_root, small_cohort, amp=True, seed=5)
    assert (whole["preset"], whole["impose_profile"], whole["seed"]) == ("compact", True, 5)
    assert (whole["strength"], whole["mask_ratio"], whole["transition"], whole["max_gain"]) == (1.0, 0.1, 0.1, 2.0)
    assert whole["precision"] == applied_precision("cpu", amp=True)
    assert settings(bundle_root, small_cohort, amp=False)["precision"] == "float32"
    without = settings(bundle_root, small_cohort, use_network=False)
    assert (without["preset"], without["weights_sha256"]) == (None, None)
    assert without["precision"] is None
    off = settings(bundle_root, small_cohort, **{"displayable_configs::strength": 0})
    assert (off["strength"], off["impose_profile"]) == (0, False)
    assert not {"mask_ratio", "transition", "top_k", "bank_sha256", "mode", "method"} & off.keys()
    # the effective number of bands, not the one asked for
    literal = settings(bundle_root, small_cohort, mode="amplitude")
    assert (literal["mode"], literal["bands"]) == ("amplitude", 1)


def test_a_setting_below_the_top_level_is_recorded_too(bundle_root: Path, small_cohort: SmallCohort) -> None:
    config = json.loads((bundle_root / "configs" / "inference.json").read_text())
    transforms = config["preprocessing"]["transforms"]
    (place,) = (i for i, transform in enumerate(transforms) if "StatisticalHighFrequency" in transform["_target_"])
    given = settings(bundle_root, small_cohort, **{f"preprocessing::transforms::{place}::mask_ratio": 0.4})
    assert given["mask_ratio"] == 0.4
