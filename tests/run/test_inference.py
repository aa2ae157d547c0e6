"""The parts of a folder run are made of its settings, and what they record is what was applied."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

import frerec
from frerec.run.inference import run_manifest, run_saver

ROOT = Path(__file__).resolve().parents[2]


def parsed(tmp_path: Path, **ids: Any) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(str(ROOT / "configs" / "inference.json"))
    parser.update({"output_dir": str(tmp_path), "device": "cpu", "amp": False, **ids})
    return parser


def test_what_is_recorded_is_what_was_applied(tmp_path: Path) -> None:
    applied = parsed(tmp_path, bands=2, method="random").get_parsed_content("manifest").settings
    expected = {
        "frerec_version": frerec.__version__, "use_network": True, "preset": "compact", "channels": 1,
        "spatial_dims": 2, "strength": 1.0, "bands": 2, "method": "random", "mask_ratio": 0.1, "transition": 0.1,
        "max_gain": 2.0, "top_k": 5, "seed": 0, "impose_profile": True, "intensity_range": "auto",
        "label_maps": "refuse", "precision": "float32", "synthetic": "auto", "generator": None,
        "output_format": "same",
        "weights_sha256": hashlib.sha256((ROOT / "models" / "model.pt").read_bytes()).hexdigest(),
    }  # fmt: skip
    assert {key: applied[key] for key in expected} == expected
    # where and how the work is done changes no output
    assert not {"output_dir", "dataset_dir", "device", "batch_size", "num_workers", "overwrite"} & applied.keys()


@pytest.mark.parametrize("told", [{"strength": 0}, {"displayable_configs::strength": 0}])
def test_what_is_left_out_is_recorded_as_left_out(tmp_path: Path, told: dict[str, Any]) -> None:
    # neither bank nor weights are needed, so neither need exist
    gone = {"bank_path": "/gone", "weights_path": "/gone", "use_network": False}
    manifest = parsed(tmp_path, **gone, **told).get_parsed_content("manifest")
    applied = {key: manifest.settings[key] for key in ("strength", "impose_profile", "preset", "precision")}
    assert applied == {"strength": 0, "impose_profile": False, "preset": None, "precision": None}
    assert manifest.settings["weights_sha256"] is None


def test_each_setting_reaches_its_part(tmp_path: Path) -> None:
    parser = parsed(tmp_path, overwrite=True, shard_index=2, shard_count=3, output_format="dicom", verify_output=False)
    settings = parser.get_parsed_content("settings")
    assert settings.keys() == json.loads((ROOT / "configs" / "inference.json").read_text())["settings"].keys()
    manifest = run_manifest(settings)
    assert (manifest.overwrite, manifest.shard_index, manifest.shard_count) == (True, 2, 3)
    saver = run_saver(settings, manifest).saver
    assert (saver.overwrite, saver.output_format, saver.verify_output) == (True, "dicom", False)
    assert saver.output_dir == tmp_path
    assert saver.settings == manifest.settings
