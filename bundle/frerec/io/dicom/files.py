"""Open DICOM files without a word about patients, and refuse objects that are no images.

The data elements are read also where pydicom stops too early or loses some.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import read_dataset as read_elements_from
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from frerec.errors import InputError

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# Objects that hold no picture, or one whose values are no intensities.
_REFUSED = (
    ("66.4", "a segmentation (SEG)"),
    ("66.7", "a label map segmentation (SEG)"),
    ("66", "raw data, a registration, fiducials or a surface"),
    ("68", "a surface or scan"),
    ("88", "a structured report (SR)"),
    ("481.2", "an RT dose"),
    ("481.3", "an RT structure set"),
    ("481", "an RT object"),
    ("9", "a waveform"),
    ("11", "a presentation state"),
    ("104", "an encapsulated document"),
    ("91", "a set of annotations"),
    ("90", "a content assessment"),
    # PS3.3 C.8.17.16 has no place for a derived one.
    ("77.1.5.8", "an analysis of OCT B-scans"),
)
_PLANAR_RT_IMAGE = "481.1"
_BY_MODALITY = {
    "SEG": "a segmentation (SEG)",
    "SR": "a structured report (SR)",
    "KO": "a key object selection",
    "PR": "a presentation state",
    "RTSTRUCT": "an RT structure set",
    "RTDOSE": "an RT dose",
    "RTPLAN": "an RT plan",
    "RTRECORD": "an RT treatment record",
    "ANN": "a set of annotations",
    "REG": "a registration",
    "ECG": "a waveform",
}
_DAMAGED = "Fetch it again from where it came"
_UNPARSABLE = "its DICOM header is malformed or truncated"


_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_DELIMITER_GROUP = 0xFFFE
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
_UNDEFINED = 0xFFFFFFFF


class NotAnImageError(InputError):
    """A sound DICOM object, or a file mistaken for one, that holds no image."""


def read_dataset(path: Path, stream: BinaryIO, with_pixels: bool = True) -> FileDataset:
    """Read a DICOM file: the one door through which all of them come, for reading and for writing.

    Values are converted by pydicom when they are looked at. Its warnings are silenced, because they quote values of
    the header, which may name a patient.

    Args:
        path: named in errors.
        stream: the open file.
        with_pixels: False to stop before the pixel data.

    Returns:
        The data set, with a transfer syntax in its file meta information even where the file states none (then the
        attribute ``inferred_syntax`` is true), and the SOP class of its file meta information where it has no other.

    Raises:
        InputError: not DICOM, truncated, malformed, or an object that is no image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = _parse(path, stream, with_pixels)
    except (InputError, MemoryError):
        raise
    except OSError as error:
        # pydicom raises it, too, without a number
        reason = f"cannot be read ({error.strerror})" if error.errno else _UNPARSABLE
        raise InputError(path, reason, "Check the path and its permissions" if error.errno else _DAMAGED) from error
    except Exception as error:
        raise InputError(path, _UNPARSABLE, _DAMAGED) from error
    with refuse_malformed(path, dataset):
        _check(path, dataset)
    return dataset


def is_valid_uid(value: object) -> bool:
    """Whether a value is a legal UID (PS3.5 chapter 9): at most 64 digits and dots under a root of ISO or ITU."""
    uid = UID(str(value or ""), validation_mode=0)
    # X.660 has the arcs 0, 1 and 2 and nothing else.
    return uid.is_valid and uid.split(".")[0] in ("0", "1", "2")


@contextmanager
def refuse_malformed(path: Path, dataset: Dataset | None = None) -> Iterator[None]:
    """Turn whatever pydicom raises on a malformed header into an InputError.

    pydicom converts values when they are looked at, so any access may fail, and in many ways. Its messages and warnings
    may quote the value, which may name a patient, so they are not passed on.

    Args:
        path: named in errors.
        dataset: where to look for the attribute to blame.

    Raises:
        InputError: instead of any other exception but a lack of memory.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        text = f"{_malformed(dataset)} of its DICOM header is malformed"
        raise InputError(path, text, "Repair its header") from error


def _malformed(dataset: Dataset | None) -> str:
    """The first attribute that cannot be converted, by keyword and tag."""
    dataset = Dataset() if dataset is None else dataset
    for tag in map(BaseTag, sorted(dataset.keys())):
        try:
            element = dataset[tag]
            if element.VR in ("DS", "IS") and isinstance(element.value, str):
                float(element.value or 0)
        except Exception:
            return " ".join(filter(None, ["attribute", keyword_for_tag(tag), f"({tag.group:04X},{tag.element:04X})"]))
    return "an attribute"


def _complete_class(dataset: Dataset) -> None:
    stated = getattr(dataset, "file_meta", None)
    in_meta = stated.get("MediaStorageSOPClassUID") if stated is not None else None
    if not is_valid_uid(dataset.get("SOPClassUID")) and is_valid_uid(in_meta):
        dataset.add_new(0x00080016, "UI", str(in_meta))


def _check(path: Path, dataset: Dataset) -> None:
    if len(dataset) == 0:
        raise InputError(path, _UNPARSABLE, _DAMAGED)
    if not any(keyword in dataset for keyword in ("SOPClassUID", "Modality", "Rows", "PixelData")):
        if "DirectoryRecordSequence" in dataset:
            raise NotAnImageError(path, "this is a DICOMDIR, an index of files", "Give the folder of the images")
        raise NotAnImageError(path, "not an image: it holds no attribute of a DICOM image", "Leave it out")
    _complete_class(dataset)
    _refuse_non_image(path, dataset)
    _complete_transfer_syntax(path, dataset)
    if str(dataset.get("NumberOfFrames", "")) == "0":
        dataset.NumberOfFrames = 1  # as others take it: there is one picture all the same


def _refuse_non_image(path: Path, dataset: Dataset) -> None:
    """Refuse objects that are no images by their SOP class, or by their modality where they state none."""
    kind = None
    uid = str(dataset.get("SOPClassUID") or "")
    if uid.startswith(_STORAGE):
        tail = uid[len(_STORAGE) :]
        if tail != _PLANAR_RT_IMAGE:
            kind = next((text for key, text in _REFUSED if tail == key or tail.startswith(f"{key}.")), None)
    kind = kind or _BY_MODALITY.get(str(dataset.get("Modality") or ""))
    if kind is not None:
        raise NotAnImageError(path, f"this is {kind}, not an image", "Leave it out: nothing in it can be recalibrated")


def _complete_transfer_syntax(path: Path, dataset: Dataset) -> None:
    if getattr(dataset, "file_meta", None) is None:
        dataset.file_meta = FileMetaDataset()
    dataset.inferred_syntax = not dataset.file_meta.get("TransferSyntaxUID")
    if not dataset.inferred_syntax:
        return
    pixels = dataset.get("PixelData")
    if isinstance(pixels, bytes) and pixels.startswith(b"\xfe\xff\x00\xe0"):
        text = "it has compressed pixel data but states no transfer syntax"
        raise InputError(path, text, "Fetch it again with its file meta information")
    dataset.file_meta.TransferSyntaxUID = _uncompressed_syntax(dataset)


def _uncompressed_syntax(dataset: Dataset) -> UID:
    implicit, little = dataset.is_implicit_VR, dataset.is_little_endian
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _parse(path: Path, file: BinaryIO, with_pixels: bool) -> FileDataset:
    """The data elements of a file.

    A delimiter outside of any sequence is passed over, as other readers do. Encapsulated pixel data is read item by
    item: pydicom looks for the bytes of its delimiter, which compressed data may hold, and gives up the whole data set
    where it is missing at the end (PS3.5 A.4).
    """
    dataset = pydicom.dcmread(file, force=True, stop_before_pixels=not with_pixels)
    _read_on(file, dataset, with_pixels)
    if with_pixels and _lost_pixels(dataset):
        dataset = _parse_by_items(path, file) or dataset
    for tag in [tag for tag in map(BaseTag, dataset.keys()) if tag.group == _DELIMITER_GROUP]:
        del dataset[tag]
    return dataset


def _read_on(file: BinaryIO, dataset: FileDataset, with_pixels: bool) -> None:
    # An item delimiter ends a data set for pydicom, even the outermost.
    order = "<" if dataset.is_little_endian else ">"
    while _just_read(file, struct.pack(f"{order}HHL", _DELIMITER_GROUP, _ITEM_END, 0)):
        while _delimiter_follows(file, order):
            file.read(8)
        start = file.tell()
        more = read_elements_from(
            file,
            bool(dataset.is_implicit_VR),
            bool(dataset.is_little_endian),
            stop_when=None if with_pixels else lambda tag, vr, length: tag in _PIXELS,
        )
        if file.tell() == start:
            break
        dataset.update(more)


def _just_read(file: BinaryIO, wanted: bytes) -> bool:
    position = file.tell()
    if position < len(wanted):
        return False
    file.seek(position - len(wanted))
    return file.read(len(wanted)) == wanted


def _delimiter_follows(file: BinaryIO, order: str) -> bool:
    position = file.tell()
    head = file.read(8)
    file.seek(position)
    return head in [struct.pack(f"{order}HHL", _DELIMITER_GROUP, end, 0) for end in (_ITEM_END, _SEQUENCE_END)]


def _lost_pixels(dataset: FileDataset) -> bool:
    if len(dataset) == 0:
        return True
    element = dataset.get_item("PixelData") if "PixelData" in dataset else None
    value = getattr(element, "value", None)
    if getattr(element, "length", 0) != _UNDEFINED or not isinstance(value, bytes):
        return False
    at = 0
    while at + 8 <= len(value):
        group, number, length = struct.unpack_from("<HHL", value, at)
        if (group, number) != (_DELIMITER_GROUP, _ITEM):
            return True
        at += 8 + length
    return at != len(value)


def _parse_by_items(path: Path, file: BinaryIO) -> FileDataset | None:
    file.seek(0)
    dataset = pydicom.dcmread(file, force=True, stop_before_pixels=True)
    # Encapsulated data is always in Explicit VR Little Endian: tag, VR and two reserved bytes, length.
    if file.read(4) != b"\xe0\x7f\x10\x00" or file.read(8)[4:] != b"\xff\xff\xff\xff":
        return None
    dataset.add_new(_PIXELS[-1], "OB", _read_items(path, file))
    dataset["PixelData"].is_undefined_length = True
    dataset.update(read_elements_from(file, False, True))
    return dataset


def _read_items(path: Path, file: BinaryIO) -> bytes:
    pieces = []
    while head := file.read(8):
        group, number, length = struct.unpack("<HHL", head) if len(head) == 8 else (0, 0, 0)
        if (group, number) != (_DELIMITER_GROUP, _ITEM):
            if (group, number) != (_DELIMITER_GROUP, _SEQUENCE_END):
                file.seek(-len(head), 1)
            break
        body = file.read(length)
        if len(body) < length:
            raise InputError(path, "its pixel data is truncated", "Fetch it again from where it came")
        pieces.append(head + body)
    return b"".join(pieces)
