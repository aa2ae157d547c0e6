"""Which range an image is recalibrated on: never one that it hardly fills, whatever its file could store or states."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from frerec.io.intensity import NormalizeRange
from frerec.io.loader import LoadMedicalImage
from tests.io.dicom.objects import CT, dicom_object, save

LOAD = LoadMedicalImage()


def picture(low: float, high: float, dtype: str = "<u2") -> np.ndarray:
    """A smooth blob with grain, from ``low`` to ``high``, both reached."""
    y, x = np.mgrid[:64, :72]
    image = np.exp(-((y - 30) ** 2 + (x - 40) ** 2) / 600) + 0.05 * np.random.default_rng(3).standard_normal(y.shape)
    image = (image - image.min()) / np.ptp(image)
    return np.round(low + image * (high - low)).astype(dtype)


def chosen(path: Path, rule: str = "auto") -> tuple[str, float, float]:
    note = NormalizeRange(rule)(LOAD(path)).meta["frerec"]["applied"].normalize
    assert note.why
    return note.rule, note.lower, note.upper


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 65535, ("stored", 0, 65535)),
        (0, 40000, ("stored", 0, 65535)),
        (0, 20000, ("bits", 0, 32767)),
        (0, 4095, ("bits", 0, 4095)),
        (0, 1500, ("bits", 0, 2047)),
        (0, 14000, ("bits", 0, 16383)),
        (0, 255, ("bits", 0, 255)),
        (100, 700, ("bits", 0, 1023)),
    ],
)
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bit_pictures_are_taken_by_the_bits_in_use(
    tmp_path: Path, low: int, high: int, expected: tuple[str, int, int], ending: str
) -> None:
    path = tmp_path / f"a{ending}"
    stored = picture(low, high)
    Image.fromarray(stored).save(path) if ending == ".png" else tifffile.imwrite(path, stored)
    assert chosen(path) == expected
    assert chosen(path, "stored") == ("stored", 0, 65535)


@pytest.mark.parametrize(("low", "high", "dtype"), [(30000, 33000, "<u2"), (100, 120, "u1"), (0, 12, "u1")])
def test_a_range_that_is_hardly_filled_is_not_taken(tmp_path: Path, low: int, high: int, dtype: str) -> None:
    stored = picture(low, high, dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored)
    rule, lower, upper = chosen(path)
    assert rule == "robust"
    assert [lower, upper] == pytest.approx(np.percentile(stored, [0.5, 99.5]))


def test_real_flat_pictures_keep_the_scale_of_their_set(shared_data: Path) -> None:
    """Patches of mammograms have a tenth to a half of the 8 bit scale, and stay comparable with each other."""
    files = sorted((shared_data / "mammo_cdcgan").rglob("*.png"))[::45]
    assert sum(chosen(path)[0] == "stored" for path in files) >= 0.95 * len(files)


def test_ct_of_8_bits_without_rescale_is_a_picture(tmp_path: Path) -> None:
    plain = {"SOPClassUID": CT, "Modality": "CT"}
    path = save(dicom_object(picture(3, 250, "u1"), **plain), tmp_path / "a.dcm")
    assert chosen(path) == ("stored", 0, 255)
    scaled = {**plain, "RescaleSlope": 16, "RescaleIntercept": -1024}
    path = save(dicom_object(picture(3, 250, "u1"), **scaled), tmp_path / "b.dcm")
    assert chosen(path) == ("hounsfield", -1024, 3071)


@pytest.mark.parametrize(("low", "high"), [(0, 60000), (1000, 1060)])
def test_ct_that_cannot_be_hounsfield_units_is_measured(tmp_path: Path, low: int, high: int) -> None:
    path = save(dicom_object(picture(low, high), SOPClassUID=CT, Modality="CT"), tmp_path / "a.dcm")
    assert chosen(path)[0] == "robust"


@pytest.mark.parametrize(
    ("centre", "width", "expected"),
    [
        (2048, 4096, ("window", 0, 4095)),
        (32768, 65535, ("window", 0, 4095)),
        (2048, 3000, ("window", 548, 3547)),
    ],
)
def test_a_window_is_cut_to_what_can_be_stored_and_must_hold_the_image(
    tmp_path: Path, centre: int, width: int, expected: tuple[str, int, int]
) -> None:
    window = {"Modality": "DX", "WindowCenter": centre, "WindowWidth": width}
    path = save(dicom_object(picture(0, 4095), bits=12, **window), tmp_path / "a.dcm")
    rule, *ends = chosen(path)
    assert rule == expected[0]
    assert ends == pytest.approx(expected[1:], abs=1)


@pytest.mark.parametrize(("centre", "width"), [(8000, 400), (1000, 20)])
def test_a_window_beside_the_image_is_not_taken(tmp_path: Path, centre: int, width: int) -> None:
    window = {"Modality": "CR", "WindowCenter": centre, "WindowWidth": width}
    path = save(dicom_object(picture(0, 4095), bits=12, **window), tmp_path / "a.dcm")
    assert chosen(path)[0] == "robust"


def test_a_wide_window_over_few_values_of_a_deep_file_is_not_taken(tmp_path: Path) -> None:
    window = {"Modality": "MG", "WindowCenter": 32768, "WindowWidth": 65535}
    path = save(dicom_object(picture(200, 4000), bits=16, **window), tmp_path / "a.dcm")
    assert chosen(path)[0] == "robust"
    assert chosen(path, "window") == ("window", 0.5, 65534.5)


def test_nifti_of_few_bytes_is_measured(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(picture(7, 25, "u1"), np.eye(4)), tmp_path / "a.nii")
    assert chosen(tmp_path / "a.nii")[0] == "robust"
    nib.save(nib.Nifti1Image(picture(0, 200, "u1"), np.eye(4)), tmp_path / "b.nii")
    assert chosen(tmp_path / "b.nii") == ("stored", 0, 255)
