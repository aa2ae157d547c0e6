"""NIfTI outputs: the source's header to the last bit, read alike by nibabel and SimpleITK."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from frerec.io.formats import InputFile
from frerec.io.nifti.file import comments, derived_nifti
from frerec.io.restoring import EncodedPixels

Run = Callable[..., dict[str, Any]]
OBLIQUE = np.array([[1.9, 0.3, -0.2, -80], [-0.35, 1.4, 0.5, 20], [0.2, -0.4, 3.1, 7.5], [0, 0, 0, 1.0]])


def volume(path: Path, dtype: str, shape: tuple[int, ...] = (7, 6, 5), *, version: int = 1, slope: float = 1.0) -> Path:
    """An image with everything set that a header can hold."""
    kind = (nib.Nifti1Image, nib.Nifti1Header) if version == 1 else (nib.Nifti2Image, nib.Nifti2Header)
    rng = np.random.default_rng(0)
    values = rng.integers(0, 200, shape).astype(dtype)
    header = kind[1](endianness=">" if dtype.startswith(">") else "<")
    header.set_data_dtype(dtype)
    header.set_xyzt_units("mm", "sec")
    header["descrip"], header["cal_max"], header["aux_file"] = b"a note", 150, b"aux"
    image = kind[0](values, OBLIQUE, header)
    image.set_sform(OBLIQUE, 2)
    image.set_qform(OBLIQUE, 1, strip_shears=True)
    image.header.set_slope_inter(slope, 0 if slope == 1 else -10.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def raw_header(path: Path) -> bytes:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data[: 348 if data[4:7] != b"n+2" else 540]


CASES = [
    ("<i2", (7, 6, 5), 1, 1.0, "v.nii"),
    (">i2", (7, 6, 5), 1, 0.5, "v.nii.gz"),
    ("<u1", (9, 8), 1, 1.0, "flat.nii.gz"),
    ("<u2", (9, 8, 1), 1, 2.0, "thin.nii"),
    ("<f4", (7, 6, 5), 1, 1.0, "v.nii.gz"),
    (">f8", (7, 6, 5), 2, 1.0, "v.nii"),
    ("<i4", (7, 6, 5, 1), 2, 0.25, "four.nii.gz"),
]


@pytest.mark.parametrize(("dtype", "shape", "version", "slope", "name"), CASES)
def test_unchanged_images_differ_only_by_their_provenance(
    tmp_path: Path, recalibrate: Run, dtype: str, shape: tuple[int, ...], version: int, slope: float, name: str
) -> None:
    path = volume(tmp_path / "in" / name, dtype, shape, version=version, slope=slope)
    recalibrate(path, tmp_path / "in", tmp_path / "out")
    out = tmp_path / "out" / name
    # Only the place where the voxels begin may differ: bytes 108 to 111 (NIfTI-1) or 168 to 175 (NIfTI-2).
    ours, theirs = bytearray(raw_header(out)), bytearray(raw_header(path))
    place = slice(108, 112) if version == 1 else slice(168, 176)
    ours[place] = theirs[place] = b""
    assert ours == theirs
    new, old = nib.load(out), nib.load(path)
    assert new.dataobj.get_unscaled().dtype == old.dataobj.get_unscaled().dtype
    assert np.array_equal(new.dataobj.get_unscaled(), old.dataobj.get_unscaled())
    assert (new.dataobj.slope, new.dataobj.inter) == (old.dataobj.slope, old.dataobj.inter)
    assert int(new.header["vox_offset"]) % 16 == 0


def test_simpleitk_sees_the_same_volume(tmp_path: Path, recalibrate: Run) -> None:
    path = volume(tmp_path / "in" / "v.nii.gz", ">i2", slope=0.5)
    recalibrate(path, tmp_path / "in", tmp_path / "out")
    new, old = sitk.ReadImage(str(tmp_path / "out" / "v.nii.gz")), sitk.ReadImage(str(path))
    assert np.array_equal(sitk.GetArrayFromImage(new), sitk.GetArrayFromImage(old))
    for name in ("GetOrigin", "GetSpacing", "GetDirection", "GetPixelID"):
        assert getattr(new, name)() == getattr(old, name)()


@given(
    dtype=st.sampled_from(["<i2", ">i2", "<u1", "<u2", ">u2", "<i4", "<f4"]),
    shape=st.tuples(st.integers(2, 6), st.integers(2, 6), st.integers(1, 4)),
    slope=st.sampled_from([1.0, 0.5, 2.5, 1 / 3]),
)
@settings(max_examples=20, deadline=None)
def test_changed_values_are_right_to_half_a_step(
    tmp_path_factory: pytest.TempPathFactory, recalibrate: Run, dtype: str, shape: tuple[int, ...], slope: float
) -> None:
    folder = tmp_path_factory.mktemp("nifti")
    path = volume(folder / "in" / "v.nii", dtype, shape, slope=slope)
    item = recalibrate(path, folder / "in", folder / "out", change=lambda image: 0.5 * image + 0.2)
    wanted = np.swapaxes(item["pred"].numpy()[0], 0, 1).reshape(nib.load(path).shape)
    found = nib.load(folder / "out" / "v.nii").get_fdata()
    assert np.abs(found - wanted).max() <= (1e-3 if dtype == "<f4" else slope * 0.501)


def test_the_provenance_is_inside_and_earlier_notes_stay(tmp_path: Path) -> None:
    path = volume(tmp_path / "v.nii", "<i2")
    image = nib.load(path)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"earlier"))
    nib.save(image, path)
    pixels = EncodedPixels(InputFile.read(path), np.asarray(image.dataobj.get_unscaled()), False)
    (tmp_path / "w.nii").write_bytes(derived_nifti(pixels, {"software": "FreRec", "x": 1}, compress=False))
    earlier, own = comments(InputFile.read(tmp_path / "w.nii"))
    assert earlier == "earlier"
    assert json.loads(own.removeprefix("FreRec")) == {"software": "FreRec", "x": 1}
    assert nib.load(tmp_path / "w.nii").shape == (7, 6, 5)


@pytest.mark.parametrize("order", ["<", ">"])
def test_extensions_of_any_code_come_back_as_they_are(tmp_path: Path, recalibrate: Run, order: str) -> None:
    path = volume(tmp_path / "in" / "v.nii", f"{order}i2")
    data, endian = path.read_bytes(), "little" if order == "<" else "big"
    # DICOM (2) that is none, a code of nobody, and rubbish where a third one would be.
    notes = [(2, b"no DICOM".ljust(24, b"\xfe")), (40, bytes(range(8)))]
    raw = b"".join((len(text) + 8).to_bytes(4, endian) + code.to_bytes(4, endian) + text for code, text in notes)
    rubbish = (77_777).to_bytes(4, endian) + b"\1" * 12
    header = nib.Nifti1Header(data[:348], check=False)
    header["vox_offset"] = 352 + len(raw) + len(rubbish)
    path.write_bytes(header.binaryblock + b"\1\0\0\0" + raw + rubbish + data[352:])
    item = recalibrate(path, tmp_path / "in", tmp_path / "out")
    out = (tmp_path / "out" / "v.nii").read_bytes()
    assert out[352 : 352 + len(raw)] == raw
    assert any("damaged and not kept" in line for line in item["image"].meta["frerec"]["source"].warnings)
    assert (
        json.loads(comments(InputFile.read(tmp_path / "out" / "v.nii"))[-1].removeprefix("FreRec"))["source"]["name"]
        == "v.nii"
    )
    wanted = np.rint(item["pred"][0].numpy().swapaxes(0, 1))
    assert np.array_equal(nib.load(tmp_path / "out" / "v.nii").get_fdata(), wanted)
