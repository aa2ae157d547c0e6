"""Masks and other files that are no images are skipped one by one, wherever they stand; label_maps lets masks pass."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.bundle.conftest import SmallCohort
from tests.conftest import BundleCommand


@pytest.mark.parametrize("label_maps", ["refuse", "accept"])
def test_masks_and_damaged_volumes_among_images(
    bundle_root: Path, small_cohort: SmallCohort, bundle_command: BundleCommand, tmp_path: Path, label_maps: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "m.png").write_bytes((small_cohort.folder / "03.png").read_bytes())
    disc = np.hypot(*(np.indices((64, 64)) - 30)) < 15
    Image.fromarray(200 * disc.astype(np.uint8)).save(folder / "n.png")
    image = nib.Nifti1Image(np.arange(4096, dtype="i2").reshape(64, 64), np.eye(4))
    image.header.set_intent("label")
    nib.save(image, folder / "o.nii.gz")
    damaged = bytearray(nib.Nifti1Image(np.arange(4096, dtype="i2").reshape(64, 64), np.eye(4)).to_bytes())
    struct.pack_into("<3h", damaged, 42, 31000, 30000, 20000)
    (folder / "a_first.nii").write_bytes(damaged)
    brain = nib.cifti2.BrainModelAxis.from_mask(np.ones((4, 4, 4), bool), affine=np.eye(4))
    scalar = nib.cifti2.ScalarAxis(["a", "b", "c"])
    nib.save(nib.Cifti2Image(np.ones((3, 64), "f4"), (scalar, brain)), folder / "b.dscalar.nii")
    words = ("--dataset_dir", folder, "--output_dir", tmp_path / "out", "--use_network", "False", "--strength", "0.1")
    words = (*words, "--bank_path", small_cohort.bank, "--top_k", "4", "--label_maps", label_maps)
    words = (*words, "--mask_ratio", "0.25")  # the mask is all edges; with more of them changed it is refused
    done = bundle_command("run", "--config_file", bundle_root / "configs" / "inference.json", *words, check=False)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    masks = "done" if label_maps == "accept" else "skipped"
    assert {line["path"]: line["status"] for line in lines} == {
        "a_first.nii": "skipped", "b.dscalar.nii": "skipped", "m.png": "done", "n.png": masks, "o.nii.gz": masks,
    }  # fmt: skip
