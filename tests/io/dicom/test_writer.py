"""DICOM outputs as files: encoding, round trips of values, and what the corpus' oddities become."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frerec.errors import InputError
from frerec.io.dicom.references import IMPLEMENTATION_CLASS_UID
from frerec.io.dicom.writer import derived_dicom
from frerec.io.formats import InputFile
from frerec.io.provenance import Provenance
from frerec.io.restoring import EncodedPixels

Run = Callable[..., dict[str, Any]]
RUN = Provenance("x.dcm", "a" * 64, {"strength": 0.3}, {}, "b" * 64)
PYDICOM_DATA = Path("dicom/pydicom-data/data_store/data")


def gray(seed: int, size: tuple[int, int], bits: int, signed: bool) -> np.ndarray:
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    kind = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    values = np.random.default_rng(seed).integers(low, high, size).astype(kind)
    values.flat[0], values.flat[-1] = low, high - 1
    return values


any_gray = given(
    seed=st.integers(0, 99),
    size=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    bits=st.sampled_from([8, 10, 12, 14, 16]),
    signed=st.booleans(),
    inverted=st.booleans(),
    rescale=st.sampled_from([None, (1, -1024), (0.5, 3), (2.75, 0), (-1, 100)]),
)


@any_gray
@settings(max_examples=25, deadline=None)
def test_values_survive_bit_for_bit_or_to_half_a_step(
    tmp_path_factory: pytest.TempPathFactory,
    make_dicom: Callable[..., Path],
    recalibrate: Run,
    seed: int,
    size: tuple[int, int],
    bits: int,
    signed: bool,
    inverted: bool,
    rescale: tuple[float, float] | None,
) -> None:
    folder = tmp_path_factory.mktemp("dicom")
    values = gray(seed, size, bits, signed)
    slope, intercept = rescale or (1, 0)
    extra = {"RescaleSlope": slope, "RescaleIntercept": intercept} if rescale else {}
    kind = "MONOCHROME1" if inverted else "MONOCHROME2"
    path = make_dicom(folder / "in" / "x.dcm", values, BitsStored=bits, PhotometricInterpretation=kind, **extra)
    recalibrate(path, folder / "in", folder / "same")
    same = pydicom.dcmread(folder / "same" / "x.dcm")
    assert same.PhotometricInterpretation == kind and same.BitsStored == bits
    assert np.array_equal(same.pixel_array, values)

    item = recalibrate(path, folder / "in", folder / "new", change=lambda image: 0.6 * image + 0.6)
    out = pydicom.dcmread(folder / "new" / "x.dcm")
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    wanted = item["pred"].numpy()[0].astype(np.float64)
    if inverted:
        wanted = slope * (low + high) + 2 * intercept - wanted
    wanted = np.clip((wanted - intercept) / slope, low, high)
    # float32 holds 24 bits; beyond half a step nothing may be lost, and what is out of range is clipped, not wrapped
    assert np.abs(out.pixel_array - wanted).max() <= 0.51


def test_padding_is_kept_and_nothing_becomes_padding(
    tmp_path: Path, make_dicom: Callable[..., Path], recalibrate: Run
) -> None:
    values = np.random.default_rng(0).integers(-1000, 1000, (8, 8)).astype(np.int16)
    values[:2] = -2000
    path = make_dicom(tmp_path / "in" / "x.dcm", values, PixelPaddingValue=-2000)
    item = recalibrate(path, tmp_path / "in", tmp_path / "out", change=lambda image: image - 0.4)
    out = pydicom.dcmread(tmp_path / "out" / "x.dcm")
    assert out.PixelPaddingValue == -2000
    assert (out.pixel_array[:2] == -2000).all() and (out.pixel_array[2:] != -2000).all()
    assert item["pred"].numpy()[0, 2:].min() < -2000


def test_the_file_is_part_10_and_says_who_wrote_it(tmp_path: Path, make_dicom: Callable[..., Path]) -> None:
    values = np.zeros((4, 4), np.uint8)
    path = make_dicom(tmp_path / "x.dcm", values)
    data, warnings = derived_dicom(EncodedPixels(InputFile.read(path), values, False, "MONOCHROME2", 8), RUN)
    (tmp_path / "y.dcm").write_bytes(data)
    out = pydicom.dcmread(tmp_path / "y.dcm")
    assert data[:132] == b"\0" * 128 + b"DICM" and warnings == []
    assert out.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert out.file_meta.MediaStorageSOPInstanceUID == out.SOPInstanceUID
    assert out.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID


def test_a_source_that_vanished_is_told(tmp_path: Path) -> None:
    gone = InputFile(tmp_path / "gone.dcm", "", "dicom")
    with pytest.raises(InputError, match="changed or gone"):
        derived_dicom(EncodedPixels(gone, np.zeros((2, 2), np.uint8), False, "MONOCHROME2", 8), RUN)


# (file, Photometric Interpretation unchanged, and when changed)
COLOUR = [
    ("SC_rgb.dcm", "RGB", "RGB"),
    ("SC_rgb_16bit.dcm", "RGB", "RGB"),
    ("color-pl.dcm", "RGB", "RGB"),
    ("SC_ybr_full_uncompressed.dcm", "YBR_FULL", "RGB"),
    ("OBXXXX1A.dcm", "PALETTE COLOR", "RGB"),
    ("SC_rgb_expb.dcm", "RGB", "RGB"),
]


@pytest.mark.parametrize(("name", "kept", "changed"), COLOUR)
def test_colour(shared_data: Path, tmp_path: Path, recalibrate: Run, name: str, kept: str, changed: str) -> None:
    root = shared_data / PYDICOM_DATA
    recalibrate(root / name, root, tmp_path / "same")
    same, source = pydicom.dcmread(tmp_path / "same" / name), pydicom.dcmread(root / name)
    assert same.PhotometricInterpretation == kept
    assert np.array_equal(same.pixel_array, source.pixel_array)
    item = recalibrate(root / name, root, tmp_path / "new", change=lambda image: 0.9 * image + 0.05)
    new = pydicom.dcmread(tmp_path / "new" / name)
    assert new.PhotometricInterpretation == changed and new.get("PlanarConfiguration") == 0
    values = new.pixel_array
    tolerance = 0.51
    wanted = np.moveaxis(item["pred"].numpy(), 0, -1)
    if kept == "PALETTE COLOR":
        # its table has 16 bits, an ultrasound object in RGB only 8
        assert new.BitsStored == 8
        wanted, tolerance = wanted / 256, 1
    assert np.abs(values.astype(float) - np.clip(wanted, 0, None)).max() <= tolerance


def test_lookup_tables_change_their_byte_order(shared_data: Path, tmp_path: Path, recalibrate: Run) -> None:
    root = shared_data / PYDICOM_DATA
    for name in ("OBXXXX1A.dcm", "OBXXXX1A_expb.dcm"):
        recalibrate(root / name, root, tmp_path)
    little, big = (pydicom.dcmread(tmp_path / name) for name in ("OBXXXX1A.dcm", "OBXXXX1A_expb.dcm"))
    for colour in ("Red", "Green", "Blue"):
        keyword = f"{colour}PaletteColorLookupTableData"
        assert little[keyword].value == big[keyword].value


def test_overlays_and_private_attributes_stay(shared_data: Path, tmp_path: Path, recalibrate: Run) -> None:
    root, name = shared_data / PYDICOM_DATA, "MR-SIEMENS-DICOM-WithOverlays.dcm"
    recalibrate(root / name, root, tmp_path, change=0.02)
    new, source = pydicom.dcmread(tmp_path / name), pydicom.dcmread(root / name)
    assert np.array_equal(new.overlay_array(0x6000), source.overlay_array(0x6000))
    private = [element.tag for element in source if element.tag.is_private]
    assert len(private) == 9 and all(new[tag].value == source[tag].value for tag in private)


def test_lossy_history_outlives_decompression(shared_data: Path, tmp_path: Path, recalibrate: Run) -> None:
    root = shared_data / PYDICOM_DATA
    recalibrate(root / "MR2_J2KI.dcm", root, tmp_path)
    assert pydicom.dcmread(tmp_path / "MR2_J2KI.dcm").LossyImageCompression == "01"


@pytest.mark.parametrize("name", ["emri_small.dcm", "emri_small_big_endian.dcm", "SC_rgb_2frame.dcm"])
def test_multi_frame_objects_keep_their_frames(shared_data: Path, tmp_path: Path, recalibrate: Run, name: str) -> None:
    root = shared_data / PYDICOM_DATA
    recalibrate(root / name, root, tmp_path)
    new, source = pydicom.dcmread(tmp_path / name), pydicom.dcmread(root / name)
    assert new.NumberOfFrames == source.NumberOfFrames
    assert np.array_equal(new.pixel_array, source.pixel_array)
