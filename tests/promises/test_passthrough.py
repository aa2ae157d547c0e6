"""Promise: what recalibration does not change comes back bit for bit, from every file of the corpus that is read."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest

from frerec.errors import InputError
from frerec.io.intensity import NormalizeRanged, RestoreRanged
from frerec.io.loader import LoadMedicalImaged
from frerec.io.writer import SaveRecalibratedd

# Attributes that place an image in the patient and give its values a meaning.
KEPT = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "FrameOfReferenceUID",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "PixelPaddingValue",
    "BitsAllocated",
    "PixelRepresentation",
    "StudyInstanceUID",
    "PatientID",
)
# Of long series of equal files, one in this many is taken.
STRIDE = 12


def corpus(root: Path) -> list[Path]:
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    series = [path for path in files if "axial_epi" in path.name or path.name.startswith("N2D_")]
    return sorted(set(files) - set(series)) + series[::STRIDE]


def whole(path: Path) -> pydicom.Dataset:
    """pydicom loses all of a file that lacks the delimiter behind its last compressed frame; here it gets one."""
    dataset = pydicom.dcmread(path, force=True)
    if len(dataset) == 0:
        dataset = pydicom.dcmread(BytesIO(path.read_bytes() + b"\xfe\xff\xdd\xe0\0\0\0\0"), force=True)
    return dataset


def pixels(path: Path) -> np.ndarray:
    """pydicom's own reading, with the little help that broken test files need."""
    dataset = whole(path)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    return dataset.pixel_array


@pytest.mark.filterwarnings("ignore")
def test_the_whole_corpus(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "dicom"
    load, normalize = LoadMedicalImaged("image", root=root), NormalizeRanged("image")
    restore, save = RestoreRanged("pred", reference_key="image"), SaveRecalibratedd("pred", str(tmp_path))
    returned, refused, wrong = 0, 0, []
    for path in corpus(root):
        try:
            item = normalize(load({"image": path}))
        except InputError:
            refused += 1
            continue
        save(restore({**item, "pred": item["image"].as_tensor().clone()}))
        output = tmp_path / path.relative_to(root)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            new, old = pydicom.dcmread(output), whole(path)
            same = [new.get(keyword) == old.get(keyword) for keyword in KEPT if old.get(keyword) not in (None, "")]
            if not all(same) or not np.array_equal(pixels(output), pixels(path)):
                wrong.append(path.name)
        returned += 1
        output.unlink()
    assert wrong == []
    assert returned > 80 and refused > 20
