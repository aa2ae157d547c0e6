"""The data elements of a DICOM file, also where pydicom stops too early or loses some."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import FileDataset
from pydicom.filereader import read_dataset as read_elements_from
from pydicom.tag import BaseTag

from frerec.errors import InputError

_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_DELIMITER_GROUP = 0xFFFE
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
_UNDEFINED = 0xFFFFFFFF


def parse(path: Path, with_pixels: bool = True) -> FileDataset:
    """Parse a DICOM file; values are converted by pydicom when they are looked at.

    A delimiter outside of any sequence is passed over, as other readers do. Encapsulated pixel data is read item by
    item: pydicom looks for the bytes of its delimiter, which compressed data may hold, and gives up the whole data set
    where it is missing at the end (PS3.5 A.4).

    Args:
        path: the file.
        with_pixels: False to stop before the pixel data.

    Raises:
        InputError: the pixel data is truncated.
        Exception: whatever pydicom raises.
    """
    with warnings.catch_warnings(), path.open("rb") as file:
        # They quote values of the header, which may name a patient.
        warnings.simplefilter("ignore")
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
