"""Open DICOM files without a word about patients, and refuse objects that are no images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from frerec.errors import InputError
from frerec.io.dicom.parsing import parse
from frerec.io.dicom.uids import is_valid_uid

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


class NotAnImageError(InputError):
    """A sound DICOM object, or a file mistaken for one, that holds no image."""


def read_dataset(path: Path, with_pixels: bool = True) -> FileDataset:
    """Read a DICOM file: the one door through which all of them come, for reading and for writing.

    pydicom's warnings are silenced, because they quote values of the header.

    Args:
        path: the file.
        with_pixels: False to stop before the pixel data.

    Returns:
        The data set, with a transfer syntax in its file meta information even where the file states none (then the
        attribute ``inferred_syntax`` is true), and the SOP class of its file meta information where it has no other.

    Raises:
        InputError: not DICOM, truncated, malformed, or an object that is no image.
    """
    try:
        dataset = parse(path, with_pixels)
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
    refuse_non_image(path, dataset)
    _complete_transfer_syntax(path, dataset)
    if str(dataset.get("NumberOfFrames", "")) == "0":
        dataset.NumberOfFrames = 1  # as others take it: there is one picture all the same


def refuse_non_image(path: Path, dataset: Dataset) -> None:
    """Refuse objects that are no images by their SOP class, or by their modality where they state none.

    Raises:
        NotAnImageError: such an object.
    """
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
