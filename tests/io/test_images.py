"""The two library functions: what is loaded is saved as it was, and what is changed says so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from monai.data import MetaTensor
from PIL import Image

import frerec
from frerec.errors import ConfigError, InputError
from tests.io.dicom.objects import MR, dicom_object, save, save_series

RNG = np.random.default_rng(5)


def written(folder: Path) -> dict[str, np.ndarray]:
    """One file of each kind, and the values in it."""
    folder.mkdir()
    values = {
        "x.dcm": RNG.integers(0, 4000, (12, 10)).astype(np.uint16),
        "x.nii.gz": RNG.integers(-900, 900, (8, 7, 5)).astype(np.int16),
        "x.png": RNG.integers(0, 65536, (12, 10)).astype(np.uint16),
        "x.tif": RNG.integers(0, 256, (12, 10, 3)).astype(np.uint8),
    }
    save(dicom_object(values["x.dcm"], bits=12, SOPClassUID=MR, Modality="MR"), folder / "x.dcm")
    nib.save(nib.Nifti1Image(values["x.nii.gz"], np.diag([-2.0, 1.5, 3, 1])), folder / "x.nii.gz")
    for name in ("x.png", "x.tif"):
        Image.fromarray(values[name]).save(folder / name)
    return values


def read(path: Path) -> np.ndarray:
    if path.suffix == ".dcm":
        return pydicom.dcmread(path).pixel_array
    return np.asarray(nib.load(path).dataobj) if path.name.endswith(".gz") else np.asarray(Image.open(path))


def test_what_is_not_changed_is_saved_as_it_was_and_changes_in_its_own_units(tmp_path: Path) -> None:
    for name, values in written(tmp_path / "in").items():
        image = frerec.load_image(tmp_path / "in" / name)
        assert isinstance(image, MetaTensor)
        told = frerec.save_image(image, tmp_path / "out" / f"same_{name}")
        assert Path(told.files[0][0]).name == f"same_{name}"
        same = read(tmp_path / "out" / f"same_{name}")
        assert same.dtype == values.dtype
        assert np.array_equal(same, values)
        high = image.numpy().max()
        frerec.save_image(image.where(image == high, image - 3), tmp_path / "out" / name)
        expected = np.where(
            values == values.max(), values, np.maximum(values.astype(int) - 3, np.iinfo(same.dtype).min)
        )
        assert np.array_equal(read(tmp_path / "out" / name), expected)
    affine = nib.load(tmp_path / "out" / "x.nii.gz").affine
    assert np.array_equal(affine, nib.load(tmp_path / "in" / "x.nii.gz").affine)


def test_a_series_is_saved_to_a_folder_under_its_own_names(tmp_path: Path) -> None:
    volume = RNG.integers(0, 900, (3, 8, 7)).astype(np.int16)
    image = frerec.load_image(save_series(tmp_path / "in", volume))
    told = frerec.save_image(image, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "in").iterdir())
    assert sorted(Path(path).name for path, _ in told.files) == names
    for name in names:
        assert np.array_equal(read_dicom(tmp_path / "out" / name), read_dicom(tmp_path / "in" / name))


def read_dicom(path: Path) -> np.ndarray:
    return pydicom.dcmread(path).pixel_array


def test_a_synthetic_image_stays_marked(tmp_path: Path) -> None:
    dataset = dicom_object(RNG.integers(0, 200, (8, 9)).astype(np.uint8))
    dataset.add_new(0x0008001C, "CS", "YES")
    image = frerec.load_image(save(dataset, tmp_path / "x"))
    told = frerec.save_image(image, tmp_path / "y")
    assert told.synthetic
    assert pydicom.dcmread(tmp_path / "y")[0x0008001C].value == "YES"


def test_other_endings_other_peoples_files_and_the_input_are_refused(
    tmp_path: Path, strict_values: None, dicom_errors: Callable[[Path], object]
) -> None:
    Image.fromarray(RNG.integers(0, 200, (16, 16)).astype(np.uint8)).save(tmp_path / "a.jpg")
    image = frerec.load_image(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"came from JPEG and is written as a PNG. Use .png"):
        frerec.save_image(image, tmp_path / "b.jpg")
    frerec.save_image(image, tmp_path / "b.dcm")
    assert not dicom_errors(tmp_path / "b.dcm")
    (tmp_path / "c.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="not an output of this software"):
        frerec.save_image(image, tmp_path / "c.png")
    frerec.save_image(image, tmp_path / "c.png", overwrite=True)
    png = frerec.load_image(tmp_path / "c.png")
    with pytest.raises(InputError, match="would overwrite it"):
        frerec.save_image(png, tmp_path / "c.png", overwrite=True)
    with pytest.raises(ConfigError, match="does not say which file"):
        frerec.save_image(MetaTensor(png.as_tensor()), tmp_path / "d.png")


def test_the_package_itself_is_imported_without_torch(bundle_root: Path) -> None:
    code = "import sys, frerec; assert 'torch' not in sys.modules; assert callable(frerec.load_image); frerec.nothing"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(bundle_root / "bundle")}, capture_output=True, text=True
    )
    assert "AttributeError: module 'frerec' has no attribute 'nothing'" in done.stderr
    assert (bundle_root / "bundle" / "frerec" / "py.typed").is_file()
