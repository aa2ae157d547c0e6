"""What the tests of reading and writing share: strict DICOM values, small DICOM files, and one run of the main path."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.config
import pytest
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from frerec.io.intensity import NormalizeRanged, RestoreRanged
from frerec.io.loader import LoadMedicalImaged
from frerec.io.writer import SaveRecalibratedd

# The name of the argument changed with pydicom 3.
WHOLE_FILE = {"enforce_file_format": True} if pydicom.__version__ >= "3" else {"write_like_original": False}

# Errors of dciodvfy that are its own: it is of 2022 and its templates are older than the clauses they check.
# (0008,001C) Synthetic Data came with the edition 2023c of the standard. The others are acquisition attributes of
# enhanced MR images. Table C.8-87 says of each attribute of the pulse sequence "required if Image Type Value 1 is
# ORIGINAL or MIXED. May be present otherwise", C.7.6.18 likewise of bulk motion: they may stay in a derived image.
KNOWN_FAULTS_OF_DCIODVFY = ("(0x0008,0x001c)", "Module=<MRPulseSequence>", "Module=<BulkMotionSynchronization>")


@pytest.fixture
def strict_values() -> Iterator[None]:
    """Refuse every malformed DICOM value that is read or set; for tests whose own inputs are well formed."""
    before = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
    yield
    pydicom.config.settings.reading_validation_mode = before


@pytest.fixture(scope="session")
def make_dicom() -> Callable[..., Path]:
    """Write a small valid single-frame object: ``make_dicom(path, array, Keyword=value, ...)`` returns the path."""

    def make(path: Path, array: np.ndarray, **attributes: Any) -> Path:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = attributes.get("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2")
        meta.MediaStorageSOPInstanceUID = attributes.get("SOPInstanceUID", generate_uid())
        dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        colour = array.ndim == 3 and array.shape[-1] == 3
        values: dict[str, Any] = {
            "SOPClassUID": meta.MediaStorageSOPClassUID,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
            "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.2",
            "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.3",
            "PatientName": "Test^Person",
            "PatientID": "T1",
            "PatientBirthDate": "19700101",
            "PatientSex": "O",
            "StudyDate": "20200102",
            "StudyTime": "101112",
            "StudyID": "S",
            "AccessionNumber": "A",
            "ReferringPhysicianName": None,
            "Modality": "CT",
            "Manufacturer": "Maker",
            "SeriesNumber": 7,
            "SeriesDescription": "Thorax",
            "InstanceNumber": 3,
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "Rows": array.shape[0],
            "Columns": array.shape[1],
            "SamplesPerPixel": 3 if colour else 1,
            "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
            "BitsAllocated": array.dtype.itemsize * 8,
            "BitsStored": array.dtype.itemsize * 8,
            "PixelRepresentation": int(array.dtype.kind == "i"),
        } | attributes
        values["HighBit"] = values["BitsStored"] - 1
        if colour:
            values["PlanarConfiguration"] = 0
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        dataset.add_new(0x7FE00010, "OB" if array.dtype.itemsize == 1 else "OW", data + b"\0" * (len(data) % 2))
        path.parent.mkdir(parents=True, exist_ok=True)
        pydicom.dcmwrite(path, dataset, **WHOLE_FILE)
        return path

    return make


@pytest.fixture(scope="session")
def recalibrate() -> Callable[..., dict[str, Any]]:
    """Take an image the whole way without a network: ``recalibrate(path, root, output_dir, change=0.0, **saver)``.

    ``change`` is the standard deviation of noise added in the normalised range, or a function of the normalised image.
    Returns the item; its report is at ``item["saved"][-1]``.
    """

    def run(path: Path, root: Path, output_dir: Path, change: Any = 0.0, **saver: Any) -> dict[str, Any]:
        item = NormalizeRanged("image")(LoadMedicalImaged("image", root=root)({"image": path}))
        prediction = item["image"].as_tensor().clone()
        if callable(change):
            prediction = change(prediction)
        elif change:
            generator = torch.Generator().manual_seed(0)
            prediction += change * torch.randn(prediction.shape, generator=generator)
        item = RestoreRanged("pred", reference_key="image")({**item, "pred": prediction})
        # changes of any size are what these tests are about
        return SaveRecalibratedd("pred", str(output_dir), **{"verify_output": False, **saver})(item)

    return run


@pytest.fixture(scope="session")
def dicom_errors() -> Callable[[Path], Counter[str]]:
    """The errors that dciodvfy finds in a file, less those that are its own."""
    tool = shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")

    def check(path: Path) -> Counter[str]:
        done = subprocess.run([tool, str(path)], capture_output=True, text=True, errors="replace", check=False)
        lines = (done.stdout + done.stderr).splitlines()
        found = [line for line in lines if line.startswith("Error") and _is_about_the_file(line)]
        return Counter(found)

    return check


def _is_about_the_file(line: str) -> bool:
    if any(mark in line.lower() for mark in (KNOWN_FAULTS_OF_DCIODVFY[0],)):
        return False
    return not ("condition unsatisfied" in line and any(mark in line for mark in KNOWN_FAULTS_OF_DCIODVFY[1:]))
