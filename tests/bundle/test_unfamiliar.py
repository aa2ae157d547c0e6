"""Images of another kind than the bank's are recalibrated with a warning, on the terminal and in the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.bundle.conftest import SmallCohort
from tests.conftest import BundleCommand


def test_stripes_among_discs_is_told(
    bundle_root: Path, small_cohort: SmallCohort, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "disc.png").write_bytes((small_cohort.folder / "03.png").read_bytes())
    columns, grain = np.indices((64, 64))[1], np.random.default_rng(0).integers(0, 30, (64, 64))
    for period in (4, 8):
        stripes = columns // (period // 2) % 2 * 200 + grain
        Image.fromarray(stripes.astype(np.uint8)).save(folder / f"stripes{period}.png")
    words = ("--dataset_dir", folder, "--bank_path", small_cohort.bank, "--weights_path", small_cohort.weights)
    made = ("--output_dir", tmp_path / "out", "--top_k", "4", "--batch_size", "2")
    done = bundle_command("run", "--config_file", bundle_root / "configs" / "inference.json", *words, *made)
    assert done.stdout.count("unlike the images of the reference bank") == 1
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert {line["path"]: any("unlike" in text for text in line["warnings"]) for line in lines} == {
        "disc.png": False, "stripes4.png": True, "stripes8.png": True,
    }  # fmt: skip
    assert all(line["applied"]["bank_distance"] > 1.25 for line in lines if line["path"].startswith("stripes"))
