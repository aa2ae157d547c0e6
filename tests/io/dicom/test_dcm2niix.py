"""dcm2niix, the converter research groups use, sees the written series as it sees its source."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

Run = Callable[..., dict[str, Any]]


def convert(folder: Path, output: Path) -> nib.Nifti1Image:
    tool = shutil.which("dcm2niix")
    if tool is None:
        pytest.skip("dcm2niix is not installed (Debian package dcm2niix)")
    output.mkdir()
    command = [tool, "-b", "n", "-z", "n", "-f", "volume", "-o", str(output), str(folder)]
    subprocess.run(command, capture_output=True, check=True)
    (volume,) = output.glob("*.nii")
    return nib.load(volume)


def test_voxels_and_geometry_are_those_of_the_source(shared_data: Path, tmp_path: Path, recalibrate: Run) -> None:
    root = shared_data / "dicom" / "example-dicom-structural"
    before = convert(root / "dicoms", tmp_path / "before")
    recalibrate(root / "dicoms", root, tmp_path / "same")
    after = convert(tmp_path / "same" / "dicoms", tmp_path / "after")
    assert np.array_equal(np.asanyarray(after.dataobj), np.asanyarray(before.dataobj))
    assert np.array_equal(after.affine, before.affine)
    assert after.header.get_zooms() == before.header.get_zooms()
    assert after.header.get_data_dtype() == before.header.get_data_dtype()

    item = recalibrate(root / "dicoms", root, tmp_path / "new", change=lambda image: 0.5 * image + 0.1)
    changed = convert(tmp_path / "new" / "dicoms", tmp_path / "changed")
    assert np.array_equal(changed.affine, before.affine)
    # the saver's array is row-major with slices in the order of their normal; sorted, the voxels must agree
    wanted = np.sort(np.rint(np.clip(item["pred"].numpy(), 0, 32767)).ravel())
    assert np.abs(np.sort(changed.get_fdata().ravel()) - wanted).max() <= 1
