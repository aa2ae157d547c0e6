"""Promise: an image that is loaded, normalised, restored and encoded unchanged has the stored values it came with."""

from __future__ import annotations

import warnings

import numpy as np
import pydicom
import pytest
from PIL import Image

from frerec.errors import InputError
from frerec.imaging.intensity import NormalizeRange, RestoreRange
from frerec.imaging.loader import LoadMedicalImage
from frerec.imaging.source import Source
from frerec.imaging.stored import to_stored

FOLDERS = ("dcm_qa_nih", "example-dicom-structural", "highdicom", "pydicom-data")


def passed_through(path):
    normalized = NormalizeRange()(LoadMedicalImage()(path))
    frerec = normalized.meta["frerec"]
    restored = RestoreRange()(normalized.as_tensor(), normalized)
    return to_stored(restored.numpy(), Source.from_meta(frerec["source"]), frerec["normalize"])


def stored_values(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        if not dataset.file_meta.get("TransferSyntaxUID"):
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        if str(dataset.get("PhotometricInterpretation")).startswith("YBR") and not pydicom.__version__.startswith("2"):
            return pydicom.pixels.pixel_array(dataset, raw=True)
        return dataset.pixel_array


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_readable_dicom_file(shared_data, folder):
    passed = refused = 0
    for path in sorted((shared_data / "dicom" / folder).rglob("*.dcm")):
        try:
            (pixels,) = passed_through(path)
        except InputError:
            refused += 1
            continue
        expected = stored_values(path)
        assert not pixels.changed, path
        assert pixels.array.dtype == expected.dtype.newbyteorder("="), path
        assert np.array_equal(pixels.array, expected), path
        passed += 1
    assert (passed, refused) == {
        "dcm_qa_nih": (158, 0),
        "example-dicom-structural": (40, 0),
        "highdicom": (2, 23),
        "pydicom-data": (63, 10),
    }[folder]


def test_a_series_slice_by_slice(shared_data):
    stored = passed_through(shared_data / "dicom" / "example-dicom-structural" / "dicoms")
    assert len(stored) == 40
    assert len({pixels.path for pixels in stored}) == 40
    for pixels in stored:
        assert np.array_equal(pixels.array, stored_values(pixels.path)), pixels.path


@pytest.mark.parametrize("name", ["chest_xray", "brain_mri", "fundus"])
def test_real_pictures(shared_data, name):

    for path in sorted((shared_data / name / "images").rglob("*.png"))[:20]:
        (pixels,) = passed_through(path)
        assert not pixels.changed
        assert np.array_equal(pixels.array, np.asarray(Image.open(path)))
