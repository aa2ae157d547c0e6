"""Malformed DICOM files: written as other readers understand them, or refused in one line with the true reason."""

from __future__ import annotations

import gzip
import random
import struct
import warnings
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from frerec.errors import InputError
from frerec.io.loader import LoadMedicalImage
from frerec.io.writer import SaveRecalibrated
from tests.io.dicom.mutants import DELIMITERS, SECRET, elements, encoded, mutant, sound_files
from tests.io.dicom.objects import dicom_object, save

Run = Callable[..., dict[str, Any]]
NOISE = np.random.default_rng(5)
GRAY = NOISE.integers(0, 4096, (10, 12)).astype(np.uint16)


def passed_on(path: Path, folder: Path, add: float = 0.0) -> FileDataset:
    """The file as it is written with every value raised by ``add``."""
    image = LoadMedicalImage(path.parent)(path)
    SaveRecalibrated(str(folder), overwrite=True, synthetic=True)(image.as_tensor() + add, image.meta)
    return reread(folder / path.name)


def reread(path: Path) -> FileDataset:
    """Read it with pydicom, whose warnings about odd values are expected here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        _ = dataset.pixel_array
    return dataset


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        LoadMedicalImage()(path)
    return f"{caught.value.reason}. {caught.value.remedy}"


@pytest.mark.parametrize("part", range(6))
def test_whatever_is_wrong_in_a_header_it_is_written_or_refused_in_one_line(tmp_path: Path, part: int) -> None:
    files, found = sound_files(np.random.default_rng(part)), Counter[str]()
    path = tmp_path / "in" / "x.dcm"
    path.parent.mkdir()
    for seed in range(100 * part, 100 * part + 100):
        chance = random.Random(seed)
        path.write_bytes(mutant(files[chance.choice(list(files))], chance))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # pydicom's quote the header
                written = passed_on(path, tmp_path / "out", add=seed % 3)
        except InputError as error:
            found["refused"] += 1
            assert SECRET not in str(error) and "\n" not in str(error), seed
        else:
            found["written"] += 1
            assert written.pixel_array.size, seed
    assert found["refused"] > 20 and found["written"] > 10


@pytest.mark.parametrize("delimiter", DELIMITERS, ids=["item", "sequence"])
def test_a_delimiter_between_any_two_elements_is_passed_over(tmp_path: Path, delimiter: bytes) -> None:
    data = encoded(dicom_object(GRAY, bits=12, PatientName="A", SeriesDescription="B"))
    ends = [end for _, end in elements(data)]
    assert len(ends) > 20 and ends[-1] == len(data)
    path = tmp_path / "x.dcm"
    for end in ends[7:]:  # behind the file meta information
        path.write_bytes(data[:end] + delimiter * 2 + data[end:])
        assert np.array_equal(passed_on(path, tmp_path / "out").pixel_array, GRAY)
        assert LoadMedicalImage()(path).meta["frerec"]["source"].kind == "dicom"


def test_a_delimiter_in_an_item_is_passed_over(tmp_path: Path) -> None:
    dataset = dicom_object(GRAY, bits=12)
    dataset.add_new(0x00081140, "SQ", [pydicom.Dataset()])
    dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    data = encoded(dataset)
    at = data.index(b"\x08\x00\x40\x11SQ")
    item = data[at + 20 :][: struct.unpack_from("<L", data, at + 16)[0]] + DELIMITERS[1]
    own = data[at : at + 6] + struct.pack("<HLHHL", 0, len(item) + 8, 0xFFFE, 0xE000, len(item)) + item
    (tmp_path / "x.dcm").write_bytes(data[:at] + own + data[at + 12 + struct.unpack_from("<L", data, at + 8)[0] :])
    written = passed_on(tmp_path / "x.dcm", tmp_path / "out")
    assert [element.keyword for element in written.ReferencedImageSequence[0]] == ["ReferencedSOPInstanceUID"]


@pytest.mark.parametrize(
    ("meta", "stated", "kept"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", None, "1.2.840.10008.5.1.4.1.1.2"),
        ("1.2.840.10008.5.1.4.1.1.4", "", "1.2.840.10008.5.1.4.1.1.4"),
        ("", None, "1.2.840.10008.5.1.4.1.1.7"),
        ("", "", "1.2.840.10008.5.1.4.1.1.7"),
        ("", "CT image", "1.2.840.10008.5.1.4.1.1.7"),
    ],
)
def test_an_object_without_a_class(
    tmp_path: Path, dicom_errors: Callable[[Path], Counter[str]], meta: str, stated: str | None, kept: str
) -> None:
    dataset = dicom_object(GRAY, bits=12)
    dataset.file_meta.MediaStorageSOPClassUID = meta
    del dataset.SOPClassUID
    with pydicom.config.disable_value_validation():
        if stated is not None:
            dataset.add_new(0x00080016, "UI", stated)
        pydicom.filewriter.dcmwrite(tmp_path / "x.dcm", dataset, **LENIENT)
    written = passed_on(tmp_path / "x.dcm", tmp_path / "out")
    assert written.SOPClassUID == written.file_meta.MediaStorageSOPClassUID == kept
    if kept.endswith(".7"):
        assert written.ConversionType == "WSD" and dicom_errors(tmp_path / "out" / "x.dcm") == Counter()


def test_several_frames_without_a_class_are_refused_when_they_are_written(tmp_path: Path) -> None:
    dataset = dicom_object(np.stack([GRAY, GRAY]), bits=12)
    dataset.file_meta.MediaStorageSOPClassUID = ""
    del dataset.SOPClassUID
    pydicom.filewriter.dcmwrite(tmp_path / "x.dcm", dataset, **LENIENT)
    with pytest.raises(InputError, match="several frames but no valid SOP Class UID"):
        passed_on(tmp_path / "x.dcm", tmp_path / "out")


# What the dictionary leaves open: curves, audio, retired tables, and extremes.
AMBIGUOUS = {
    0x50000005: ("US", 2),
    0x50003000: ("OW", np.arange(6, dtype="<f8").tobytes()),
    0x5002200C: ("OB", b"\x01\x02\x03\x04"),
    0x00280071: ("US", 77),
    0x00281200: ("US", [1, 2, 3, 60000]),
    0x00280106: ("US", 5),
    0x60003000: ("OW", b"\0" * 16),
}


def test_elements_of_unsettled_representation_are_written_as_words(tmp_path: Path) -> None:
    dataset = dicom_object(GRAY, bits=12)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    for tag, (kind, value) in AMBIGUOUS.items():
        dataset.add_new(tag, kind, value)
    save(dataset, tmp_path / "x.dcm")
    written = passed_on(tmp_path / "x.dcm", tmp_path / "out", add=1)
    assert written[0x50003000].VR == "OW" and written[0x50003000].value == AMBIGUOUS[0x50003000][1]
    assert written[0x5002200C].value == AMBIGUOUS[0x5002200C][1]
    assert written[0x00280071].VR == "US" and written[0x00280071].value == 77
    table = written[0x00281200].value
    assert (list(struct.unpack("<4H", table)) if isinstance(table, bytes) else list(table)) == [1, 2, 3, 60000]
    assert np.array_equal(written.pixel_array, np.minimum(GRAY + 1, 4095))


def test_a_malformed_attribute_that_is_not_needed_is_kept_unread_and_told(tmp_path: Path) -> None:
    data = encoded(dicom_object(GRAY, bits=12, AcquisitionDuration=2.0, PatientWeight=70))
    whole, short = struct.pack("<HH2sHd", 0x18, 0x9073, b"FD", 8, 2.0), struct.pack("<HH2sH", 0x18, 0x9073, b"FD", 6)
    weight = b"\x10\x00\x30\x10DS\x04\x00"
    wrong = data.replace(whole, short + b"abcdef").replace(weight + b"70.0", weight + b"?!?!")
    assert len(wrong) == len(data) - 2
    path = tmp_path / "x.dcm"
    path.write_bytes(wrong)
    image = LoadMedicalImage()(path)
    told = SaveRecalibrated(str(tmp_path / "out"))(image.as_tensor(), image.meta).warnings
    assert "attribute (0018,9073) is malformed; its bytes were kept unread" in told
    written = (tmp_path / "out" / "x.dcm").read_bytes()
    assert struct.pack("<HH2sHL", 0x18, 0x9073, b"UN", 0, 6) + b"abcdef" in written and weight + b"?!?!" in written


@pytest.mark.parametrize(
    ("keyword", "content", "reason"),
    [
        ("Rows", b"\x0a\0\x0a\0", "its Rows is not one whole number"),
        ("NumberOfFrames", b"ab", "its NumberOfFrames is not one whole number"),
        ("NumberOfFrames", b"-2", "its NumberOfFrames is negative"),
        ("PixelRepresentation", b"\x02\0", "its PixelRepresentation is neither 0 nor 1"),
        ("BitsStored", b"\x11\0", "17 bits stored do not fit the 16 allocated"),
        ("BitsAllocated", b"\x0c\0", "its pixels are packed: 12 bits are allocated for each"),
        ("BitsStored", b"", "it lacks BitsStored"),
        ("RescaleSlope", b"1.x ", "attribute RescaleSlope (0028,1053) of its DICOM header is malformed"),
        ("PhotometricInterpretation", b"JOHN DOE", "its photometric interpretation is none that DICOM defines"),
    ],
)
def test_the_attribute_that_makes_an_image_unreadable_is_named(
    tmp_path: Path, keyword: str, content: bytes, reason: str
) -> None:
    data = encoded(dicom_object(GRAY, bits=12, NumberOfFrames=1, RescaleSlope=1))
    tag = pydicom.tag.Tag(keyword)
    start, end = next(
        (a, b) for a, b in elements(data) if data[a : a + 4] == struct.pack("<HH", tag.group, tag.element)
    )
    path = tmp_path / "x.dcm"
    path.write_bytes(data[: start + 6] + struct.pack("<H", len(content)) + content + data[end:])
    assert refusal(path).startswith(reason)


def test_no_frames_at_all_are_one(tmp_path: Path) -> None:
    save(dicom_object(GRAY, bits=12, NumberOfFrames=0), tmp_path / "x.dcm")
    assert np.array_equal(passed_on(tmp_path / "x.dcm", tmp_path / "out").pixel_array, GRAY)


@pytest.mark.parametrize("signed", [False, True])
def test_pixels_at_the_high_end_of_their_cells_are_read_as_others_do(tmp_path: Path, signed: bool) -> None:
    values = NOISE.integers(-2048, 2048, (10, 12)).astype(np.int16) if signed else GRAY
    dataset = dicom_object(values << 4, bits=12)
    dataset.HighBit = 15
    save(dataset, tmp_path / "x.dcm")
    assert np.array_equal(LoadMedicalImage()(tmp_path / "x.dcm")[0].numpy(), values)
    written = passed_on(tmp_path / "x.dcm", tmp_path / "out", add=2)
    assert (written.BitsStored, written.HighBit) == (12, 11)
    assert np.array_equal(written.pixel_array, np.minimum(values + 2, 2047 if signed else 4095))


def test_a_high_bit_that_the_pixels_contradict(tmp_path: Path) -> None:
    low = dicom_object(GRAY, bits=12)
    low.HighBit = 15
    assert np.array_equal(passed_on(save(low, tmp_path / "low.dcm"), tmp_path / "out").pixel_array, GRAY)
    both = dicom_object(GRAY << 4 | 5, bits=12)
    both.HighBit = 15
    assert refusal(save(both, tmp_path / "both.dcm")).startswith("its pixels fit neither High Bit 15 nor 12 bits")
    # An overlay in the bits below, as it was usual then.
    both.PixelData = (GRAY << 4 | NOISE.integers(0, 2, GRAY.shape).astype(np.uint16) << 3).tobytes()
    for element, value in ((0x10, 10), (0x11, 12), (0x100, 16), (0x102, 3)):
        both.add_new(0x60000000 + element, "US", value)
    written = passed_on(save(both, tmp_path / "overlay.dcm"), tmp_path / "out")
    assert np.array_equal(written.pixel_array, GRAY)
    assert np.array_equal(
        written.overlay_array(0x6000), np.frombuffer(both.PixelData, np.uint16).reshape(10, 12) >> 3 & 1
    )


@pytest.mark.parametrize("name", ["JPEG-lossy.dcm", "JPGExtended.dcm"])
def test_twelve_bit_jpeg_is_decoded(tmp_path: Path, name: str) -> None:
    source = get_testdata_file(name, download=False)
    if source is None:
        pytest.skip(f"this pydicom comes without {name}")
    reference = sitk.GetArrayFromImage(sitk.ReadImage(get_testdata_file("JPGExtended.dcm", download=False)))
    ours = LoadMedicalImage()(source)[0].numpy()
    assert ours.max() > 255 and np.abs(ours - reference.reshape(ours.shape)).max() <= 1
    assert np.abs(passed_on(Path(source), tmp_path).pixel_array - ours).max() == 0


def compressed(frame: bytes | None = None) -> FileDataset:
    dataset = dicom_object(GRAY, bits=12)
    if frame is None:
        dataset.compress(RLELossless)
    else:
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = RLELossless
    return dataset


needs_compress = pytest.mark.skipif(pydicom.__version__ < "3", reason="this pydicom compresses to other layouts")


@needs_compress
def test_a_complete_image_without_its_last_delimiter_is_read(tmp_path: Path) -> None:
    data = encoded(compressed())
    assert data.endswith(DELIMITERS[1])
    (tmp_path / "x.dcm").write_bytes(data[:-8])
    assert np.array_equal(passed_on(tmp_path / "x.dcm", tmp_path / "out").pixel_array, GRAY)
    (tmp_path / "x.dcm").write_bytes(data[:-20])
    assert refusal(tmp_path / "x.dcm").startswith("its pixel data is truncated")


@needs_compress
def test_bytes_of_a_delimiter_within_compressed_pixels_are_pixels(tmp_path: Path) -> None:
    # One segment each for the upper and the lower byte, in literal runs; a row begins with the delimiter's bytes.
    values = GRAY.copy()
    values.reshape(-1)[:4] = values.reshape(-1)[:4] & 0xFF00 | np.frombuffer(DELIMITERS[1][:4], np.uint8)
    values &= 0x0FFF
    planes = [(values >> 8).astype(np.uint8).tobytes(), (values & 0xFF).astype(np.uint8).tobytes()]
    segments = [bytes([len(plane) - 1]) + plane + b"\x80" for plane in planes]
    header = struct.pack("<16L", 2, 64, 64 + len(segments[0]), *[0] * 13)
    path = save(compressed(header + b"".join(segments)), tmp_path / "x.dcm")
    assert DELIMITERS[1][:4] in path.read_bytes()[:-8]
    assert np.array_equal(passed_on(path, tmp_path / "out").pixel_array, values)


def test_damaged_run_lengths_are_refused_quietly(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = Path(get_testdata_file("MR_small_RLE.dcm", download=False)).read_bytes()
    for seed in range(8):
        chance, damaged = random.Random(seed), bytearray(data)
        for _ in range(40):
            damaged[chance.randrange(len(data) - 6000, len(data) - 200)] = chance.randrange(256)
        (tmp_path / "x.dcm").write_bytes(bytes(damaged))
        try:
            LoadMedicalImage()(tmp_path / "x.dcm")
        except InputError as error:
            assert "RLE Lossless) cannot be decoded" in str(error)
    assert "panicked" not in capfd.readouterr().err


def test_empty_and_short_pixel_data_are_told_apart(tmp_path: Path) -> None:
    dataset = dicom_object(GRAY, bits=12)
    dataset.PixelData = b""
    assert refusal(save(dataset, tmp_path / "x.dcm")).startswith("its pixel data is empty, though 10 x 12 pixels")
    dataset.PixelData = GRAY.tobytes()[:-30]
    assert refusal(save(dataset, tmp_path / "x.dcm")).startswith("its pixel data has 210 bytes, but 240 are declared")


def test_a_packed_file_is_called_what_it_is(tmp_path: Path) -> None:
    inside = {
        "a DICOM file": encoded(dicom_object(GRAY)),
        "a PNG picture": b"\x89PNG\r\n\x1a\n" + b"\0" * 600,
        "a TIFF picture": b"II*\x00" + b"\0" * 600,
        "a PDF document": b"%PDF-1.7" + b"\0" * 600,
        "an archive (tar)": b"name" + b"\0" * 253 + b"ustar" + b"\0" * 300,
        "no NIfTI image": b"text",
    }
    for name, content in inside.items():
        (tmp_path / "x.dcm.gz").write_bytes(gzip.compress(content))
        assert refusal(tmp_path / "x.dcm.gz").startswith(f"a gzip file that holds {name}: of packed files, only NIfTI")


LENIENT: dict[str, Any] = {"write_like_original": True} if pydicom.__version__ < "3" else {"enforce_file_format": False}


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_jpeg_that_is_cut_short_is_refused_though_its_decoder_fills_it_up(tmp_path: Path, share: float) -> None:
    y, x = np.mgrid[:64, :80]
    stored = (120 + 60 * np.sin(x / 9) * np.cos(y / 7)).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(stored).save(buffer, "JPEG", quality=95)
    whole = buffer.getvalue()
    for name, data in (("whole", whole), ("cut", whole[: int(share * len(whole))])):
        dataset = dicom_object(stored)
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = encapsulate([data])
        dataset["PixelData"].is_undefined_length = True
        save(dataset, tmp_path / f"{name}.dcm")
    assert LoadMedicalImage()(tmp_path / "whole.dcm").shape == (1, 64, 80)
    with pytest.raises(InputError, match="is truncated: an image in it has no end"):
        LoadMedicalImage()(tmp_path / "cut.dcm")
