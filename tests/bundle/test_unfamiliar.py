"""Images of another kind than the bank's are recalibrated with a warning, on the terminal and in the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.bundle.conftest import SmallCohort
from tests.conftest import BundleCommand


def test_waves_among_discs_are_told(
    bundle_root: Path, small_cohort: SmallCohort, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "disc.png").write_bytes((small_cohort.folder / "03.png").read_bytes())
    rows, columns = np.indices((64, 64))
    for period in (4, 8):
        waves = 100 + 60 * np.sin(2 * np.pi * columns / period) + 20 * np.sin(rows / 9)
        Image.fromarray(waves.astype(np.uint8)).save(folder / f"waves{period}.png")
    words = ("--dataset_dir", folder, "--bank_path", small_cohort.bank, "--weights_path", small_cohort.weights)
    made = ("--output_dir", tmp_path / "out", "--top_k", "4", "--batch_size", "2", "--verify_output", "False")
    done = bundle_command("run", "--config_file", bundle_root / "configs" / "inference.json", *words, *made)
    assert "0 of 3 images are unusual for the reference bank, 2 foreign to it" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert {line["path"]: line["applied"]["bank_grade"] for line in lines} == {
        "disc.png": "familiar", "waves4.png": "foreign", "waves8.png": "foreign",
    }  # fmt: skip
    for line in lines:
        assert ("is foreign to the reference bank" in " ".join(line["warnings"])) == line["path"].startswith("waves")
