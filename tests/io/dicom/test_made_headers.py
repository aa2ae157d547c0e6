"""Promise: whatever stands in a header, an image is loaded whole and can be written back unchanged, or is refused."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from frerec.errors import InputError
from frerec.io.intensity import NormalizeRange
from frerec.io.loader import LoadMedicalImage, read_image

Run = Callable[..., dict[str, Any]]
FEW = settings(
    max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
RNG = np.random.default_rng(21)
NOISE = RNG.integers(0, 256, (12, 14), dtype=np.uint8)


def encoded(array: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    if kind == "tiff":
        tifffile.imwrite(buffer, array, metadata=None, **options)
    else:
        Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def nifti(array: np.ndarray, kind: Any = nib.Nifti1Image, note: bytes = b"") -> bytes:
    image = kind(array, np.diag([1.5, 2, 3, 1]))
    if note:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", note))
    return image.to_bytes()


COLOUR = RNG.integers(0, 256, (12, 14, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (12, 14), dtype=np.uint16)
VOLUME = RNG.integers(-500, 500, (6, 7, 4)).astype("i2")
BASES = {
    "a.nii": [nifti(VOLUME), nifti(VOLUME.astype(">f4"), note=b"a note"), nifti(VOLUME, nib.Nifti2Image)],
    "a.tif": [
        encoded(NOISE, "tiff"),
        encoded(DEEP.astype(">u2"), "tiff", byteorder=">"),
        encoded(COLOUR, "tiff", photometric="rgb", compression="adobe_deflate", predictor=True),
        encoded(DEEP.astype("f8"), "tiff", tile=(16, 16), bigtiff=True),
        encoded(np.dstack([DEEP, DEEP]), "tiff", photometric="minisblack", planarconfig="contig", extrasamples=[1]),
    ],
    "a.png": [encoded(NOISE, "png", dpi=(300, 300)), encoded(DEEP, "png"), encoded(COLOUR, "png")],
    "a.bmp": [encoded(NOISE, "bmp"), encoded(COLOUR, "bmp")],
    "a.jpg": [encoded(NOISE, "jpeg"), encoded(COLOUR, "jpeg")],
}
# How far a header reaches, and whether later bytes may be damaged too (TIFF keeps its directory anywhere).
REACH = {"a.nii": 352, "a.tif": 100_000, "a.png": 41, "a.bmp": 54, "a.jpg": 400}
BYTES = st.lists(
    st.tuples(st.integers(0, 2**20), st.sampled_from([0, 1, 2, 3, 4, 8, 16, 32, 64, 127, 128, 254, 255])),
    min_size=1,
    max_size=4,
)


def keeps_the_promise(path: Path, tmp_path: Path, recalibrate: Run) -> bool:
    """Load, normalise and write back; True where it was an image, False where it was refused."""
    try:
        image = LoadMedicalImage()(path)
        normalized = NormalizeRange()(image)
        item = recalibrate(path, path.parent, tmp_path / "out", overwrite=True)
    except InputError as error:
        assert "\n" not in str(error)
        return False
    assert np.isfinite(normalized.numpy()).all()
    ((written, _), *_) = item["saved"][-1].files
    again = read_image(written)
    assert again.array.tobytes() == image.numpy().tobytes()
    assert again.source.dtype == read_image(path).source.dtype
    return True


@pytest.mark.parametrize("name", BASES)
def test_bytes_of_a_header(tmp_path: Path, recalibrate: Run, name: str) -> None:
    counts = {True: 0, False: 0}

    @FEW
    @given(base=st.sampled_from(BASES[name]), changes=BYTES, cut=st.integers(0, 400))
    def check(base: bytes, changes: list[tuple[int, int]], cut: int) -> None:
        data = bytearray(base)
        for place, value in changes:
            data[place % min(REACH[name], len(data))] = value
        if name == "a.png":
            # With a right checksum, so that what the header says is believed.
            data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        if cut > 380:
            del data[-cut:]
        path = tmp_path / name
        path.write_bytes(data)
        counts[keeps_the_promise(path, tmp_path, recalibrate)] += 1

    check()
    assert counts[True] and counts[False], counts


SIZES = st.sampled_from([-32768, -7, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 255, 32000, 32767])
FLOATS = st.sampled_from([0.0, -1.0, 1.0, 0.5, 1e-30, 3e38, float("nan"), float("inf"), -float("inf"), 352.0, 348.0])


@FEW
@given(
    dims=st.lists(SIZES, min_size=8, max_size=8),
    keep=st.integers(1, 8),
    fields=st.dictionaries(
        st.sampled_from(["pixdim", "vox_offset", "scl_slope", "scl_inter", "srow_x", "quatern_b", "qoffset_x"]), FLOATS
    ),
    codes=st.dictionaries(
        st.sampled_from(["datatype", "bitpix", "intent_code", "qform_code", "sform_code"]),
        st.sampled_from([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1536, 2304, 1002, 3001, 3006, -1]),
    ),
    big=st.booleans(),
    packed=st.booleans(),
)
def test_fields_of_a_nifti_header(
    tmp_path: Path,
    recalibrate: Run,
    dims: list[int],
    keep: int,
    fields: dict[str, float],
    codes: dict[str, int],
    big: bool,
    packed: bool,
) -> None:
    header = nib.Nifti1Header(endianness=">" if big else "<")
    header.set_data_dtype(np.dtype("i2"))
    header.set_data_shape(VOLUME.shape)
    header["magic"], header["vox_offset"] = b"n+1", 352
    header["dim"][keep:] = dims[keep:]
    for name, value in fields.items():
        header[name] = value
    for name, code in codes.items():
        header[name] = code
    data = header.binaryblock + b"\0\0\0\0" + VOLUME.astype(">i2" if big else "<i2").tobytes(order="F")
    path = tmp_path / ("a.nii.gz" if packed else "a.nii")
    path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    if keeps_the_promise(path, tmp_path, recalibrate):
        theirs = nib.load(path).get_fdata(dtype=np.float64)
        ours = read_image(path).array[0]
        assert np.array_equal(ours, theirs.reshape(ours.swapaxes(0, 1).shape, order="F").swapaxes(0, 1).astype("f4"))
