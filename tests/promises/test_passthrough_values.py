"""Promise: unchanged series and pictures are encoded with the stored values they came with."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from PIL import Image

from frerec.io.intensity import NormalizeRange, RestoreRange
from frerec.io.loader import LoadMedicalImage
from frerec.io.writer import encoded_pixels


def passed_through(path):
    normalized = NormalizeRange()(LoadMedicalImage()(path))
    frerec = normalized.meta["frerec"]
    restored = RestoreRange()(normalized.as_tensor(), normalized)
    return encoded_pixels(restored.numpy(), frerec["source"], frerec["applied"])


def test_a_series_slice_by_slice(shared_data):
    stored = passed_through(shared_data / "dicom" / "example-dicom-structural" / "dicoms")
    assert len(stored) == 40
    assert len({pixels.original.path for pixels in stored}) == 40
    for pixels in stored:
        assert np.array_equal(pixels.array, pydicom.dcmread(pixels.original.path).pixel_array), pixels.original.path


@pytest.mark.parametrize("name", ["chest_xray", "brain_mri", "fundus"])
def test_real_pictures(shared_data, name):

    for path in sorted((shared_data / name / "images").rglob("*.png"))[:20]:
        (pixels,) = passed_through(path)
        assert not pixels.changed
        assert np.array_equal(pixels.array, np.asarray(Image.open(path)))
