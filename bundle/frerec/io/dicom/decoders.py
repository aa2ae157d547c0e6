"""One call for the decoders of pydicom 2.4 and of pydicom 3, whose interfaces differ."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import UID, RLELossless

from frerec.errors import InputError

try:
    from pydicom.pixels.decoders.base import get_decoder
except ImportError:  # pydicom 2.4
    get_decoder = None  # type: ignore[assignment]

# JPEG baseline and extended, the sequential processes.
_SEQUENTIAL = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
# pydicom decodes run lengths itself; the package that is faster at it panics on damaged data, past every handler.
_OWN = "pydicom"
_START, _SCAN, _END = b"\xff\xd8", 0xFFDA, b"\xff\xd9"
# JPEG and JPEG-LS, whose decoders make up what is missing at the end.
_JPEG = (*_SEQUENTIAL, *(f"1.2.840.10008.1.2.4.{tail}" for tail in ("57", "70", "80", "81")))

_INSTALL = "Install the decoder packages that frerec depends on, or decompress the file with another tool"


def decode(path: Path, dataset: Dataset) -> tuple[npt.NDArray[Any], str]:
    """Decode all frames without changing their colour space.

    Args:
        path: named in errors.
        dataset: with file meta information and pixel data.

    Returns:
        The array in pydicom's layout, samples last, and the photometric interpretation it has.

    Raises:
        InputError: the transfer syntax has no decoder, or the data is truncated or damaged.
    """
    syntax = UID(str(dataset.file_meta.TransferSyntaxUID))
    try:
        if syntax in _JPEG and any(_cut_short(dataset.PixelData)):
            text = f"its pixel data ({_name(syntax)}) is truncated: an image in it has no end"
            raise InputError(path, text, "Fetch it again from where it came")
        if syntax in _SEQUENTIAL:
            mend_scans(dataset)
        if get_decoder is None:
            return _decode_with_handlers(dataset)
        try:
            decoder = get_decoder(syntax)
        except NotImplementedError:
            raise InputError(path, f"transfer syntax {_name(syntax)} is not supported", _INSTALL) from None
        if not decoder.is_available:
            raise InputError(path, f"no decoder for {_name(syntax)} is installed", _INSTALL)
        array, properties = decoder.as_array(dataset, raw=True, decoding_plugin=_OWN if syntax == RLELossless else "")
        return array, str(properties["photometric_interpretation"])
    except InputError:
        raise
    except NotImplementedError as error:
        raise InputError(path, f"transfer syntax {_name(syntax)} is not supported", _INSTALL) from error
    except Exception as error:  # plugins raise what they like on damaged data
        misfit = None if syntax.is_encapsulated else _misfit(dataset)
        if misfit is not None:
            raise InputError(path, misfit, "Fetch it again: it is truncated or its header is wrong") from error
        reason = f"its pixel data ({_name(syntax)}) cannot be decoded: it is damaged, or of a kind no decoder takes"
        raise InputError(path, reason, "Fetch it again, or decompress it with another tool") from error


def mend_scans(dataset: Dataset) -> None:
    """Give the scans of sequential JPEG images the only spectral selection they may have, 0 to 63, in place.

    Some encoders wrote 0 to 0 (ITU T.81 B.2.3 fixes both for sequential processes), which strict decoders refuse.

    Args:
        dataset: with encapsulated JPEG baseline or extended pixel data.
    """
    data = bytearray(dataset.PixelData)
    for begin, end in _fragments(data):
        if data[begin : begin + 2] == _START:
            _mend_scan(data, begin + 2, end)
    if data != dataset.PixelData:
        dataset["PixelData"].value = bytes(data)


def _fragments(data: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Begin and end of each item of encapsulated pixel data, the offset table included (PS3.5 A.4)."""
    at = 0
    while at + 8 <= len(data):
        length = struct.unpack_from("<L", data, at + 4)[0]
        yield at + 8, at + 8 + length
        at += 8 + length


def _cut_short(data: bytes) -> list[bool]:
    """For each JPEG image in encapsulated pixel data whether its end-of-image marker is missing."""
    found: list[bool] = []
    for begin, end in _fragments(data):
        if data[begin : begin + 2] == _START:
            found.append(True)
        if found and end - begin > 0:
            # padding, and bytes that some encoders leave, may follow
            found[-1] = _END not in data[max(begin, end - 16) : end]
    return found


def _mend_scan(data: bytearray, at: int, end: int) -> None:
    while at + 4 <= min(end, len(data)):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == _SCAN:
            last = at + 2 + length  # the header ends with start, end and approximation
            if last <= len(data):
                data[last - 3 : last] = b"\x00\x3f\x00"
            return
        at += 2 + length


def _misfit(dataset: Dataset) -> str | None:
    sizes = [int(dataset.get(name) or 1) for name in ("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel")]
    needed = prod(sizes) * int(dataset.BitsAllocated) // 8
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        needed = needed * 2 // 3
    keywords = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    found = sum(len(dataset[name].value) for name in keywords if name in dataset)
    return f"its pixel data has {found} bytes, but {needed} are declared" if found < needed else None


def _decode_with_handlers(dataset: Dataset) -> tuple[npt.NDArray[Any], str]:
    if dataset.file_meta.TransferSyntaxUID == RLELossless:
        dataset.convert_pixel_data("rle")
    array = dataset.pixel_array
    return array, str(dataset.PhotometricInterpretation)


def _name(syntax: UID) -> str:
    return syntax.name if syntax.name != syntax else re.sub(r"[^0-9.]", "?", str(syntax))[:64]
