"""Pictures as Secondary Capture objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image

from frerec.errors import InputError
from frerec.io.picture.writer import png_bytes

Run = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("strict_values")


@pytest.mark.parametrize("synthetic", [True, False])
@pytest.mark.parametrize(("dtype", "planes"), [("u1", 1), ("u2", 1), ("u1", 3), ("u2", 3), ("u1", 4)])
def test_pictures_become_valid_objects(
    tmp_path: Path,
    recalibrate: Run,
    dicom_errors: Callable[[Path], Counter[str]],
    dtype: str,
    planes: int,
    synthetic: bool,
) -> None:
    shape = (7, 5) if planes == 1 else (7, 5, planes)
    array = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    path = tmp_path / "in" / "p.png"
    path.parent.mkdir()
    path.write_bytes(png_bytes(array, {}))
    item = recalibrate(path, tmp_path / "in", tmp_path / "out", output_format="dicom", synthetic=synthetic)
    out = tmp_path / "out" / "p.dcm"
    assert [path for path, _ in item["saved"][0].files] == [str(out)]
    dataset = pydicom.dcmread(out)
    assert np.array_equal(dataset.pixel_array, array if planes < 4 else array[..., :3])
    assert dataset.ConversionType == ("SYN" if synthetic else "WSD")
    assert (0x0008001C in dataset) is synthetic
    assert dicom_errors(out) == Counter()
    if hasattr(highdicom, "imread"):  # since highdicom 0.24
        assert highdicom.imread(out).SOPInstanceUID == dataset.SOPInstanceUID


def test_the_same_picture_belongs_to_the_same_study(tmp_path: Path, recalibrate: Run) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "in" / "p.png")
    Image.fromarray(np.arange(1, 65, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "in" / "q.png")
    found = {}
    for name, settings in (("p", {"seed": 1}), ("p", {"seed": 2}), ("q", {"seed": 1})):
        path, out = tmp_path / "in" / f"{name}.png", tmp_path / f"out{settings['seed']}"
        recalibrate(path, tmp_path / "in", out, output_format="dicom", settings=settings)
        found[name, settings["seed"]] = pydicom.dcmread(out / f"{name}.dcm")
    one, again, other = found["p", 1], found["p", 2], found["q", 1]
    assert one.StudyInstanceUID == again.StudyInstanceUID and one.PatientID == again.PatientID
    assert one.SeriesInstanceUID != again.SeriesInstanceUID and one.SOPInstanceUID != again.SOPInstanceUID
    assert other.StudyInstanceUID != one.StudyInstanceUID and other.PatientID != one.PatientID
    assert one.PatientName == "" and "SourceImageSequence" not in one


def test_a_jpeg_stays_known_as_lossy(tmp_path: Path, recalibrate: Run) -> None:
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "in" / "p.jpg", quality=50)
    recalibrate(tmp_path / "in" / "p.jpg", tmp_path / "in", tmp_path / "out", output_format="dicom")
    dataset = pydicom.dcmread(tmp_path / "out" / "p.dcm")
    assert (dataset.LossyImageCompression, dataset.LossyImageCompressionMethod) == ("01", "ISO_10918_1")


def test_types_without_a_place_are_refused(tmp_path: Path, recalibrate: Run) -> None:
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "p.tif", np.random.default_rng(0).random((8, 8), dtype=np.float32))
    with pytest.raises(InputError, match="Secondary Capture"):
        recalibrate(tmp_path / "in" / "p.tif", tmp_path / "in", tmp_path / "out", output_format="dicom")
