"""Open DICOM files without a word about patients, and refuse objects that are no images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

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


class NotAnImageError(InputError):
    """A sound DICOM object, or a file mistaken for one, that holds no image."""


def read_dataset(path: Path, with_pixels: bool = True) -> Dataset:
    """Read a DICOM file.

    pydicom's warnings are silenced, because they quote values of the header.

    Args:
        path: the file.
        with_pixels: False to stop before the pixel data.

    Returns:
        The data set, with a transfer syntax in its file meta information even where the file states none (then the
        attribute ``inferred_syntax`` is true).

    Raises:
        InputError: not DICOM, truncated in its header, or an object that is no image.
    """
    with refuse_malformed(path):
        dataset = _read(path, with_pixels)
        # Where the pixel data ends too early, pydicom gives up the whole data set without an error.
        if with_pixels and len(dataset) == 0 and len(_read(path, with_pixels=False)) > 0:
            raise InputError(path, "its pixel data is truncated", _DAMAGED)
        _check(path, dataset)
    return dataset


@contextmanager
def refuse_malformed(path: Path) -> Iterator[None]:
    """Turn whatever pydicom raises on a malformed header into an InputError.

    pydicom converts values when they are looked at, so any access may fail, and in many ways. Its messages may quote
    the value, so they are not passed on.

    Args:
        path: named in errors.

    Raises:
        InputError: instead of any other exception.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        if error.errno is None:  # raised by pydicom, not by the system
            raise InputError(path, "its DICOM header is truncated", _DAMAGED) from error
        reason = f"cannot be read ({error.strerror})"
        raise InputError(path, reason, "Check the path and its permissions") from error
    except Exception as error:
        raise InputError(path, "an attribute of its DICOM header is malformed", "Repair its header") from error


def _check(path: Path, dataset: Dataset) -> None:
    if not any(keyword in dataset for keyword in ("SOPClassUID", "Modality", "Rows", "PixelData")):
        if "DirectoryRecordSequence" in dataset:
            raise NotAnImageError(path, "this is a DICOMDIR, an index of files", "Give the folder of the images")
        raise NotAnImageError(path, "not an image: it holds no attribute of a DICOM image", "Leave it out")
    refuse_non_image(path, dataset)
    _complete_transfer_syntax(path, dataset)


def _read(path: Path, with_pixels: bool) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True, stop_before_pixels=not with_pixels)


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
