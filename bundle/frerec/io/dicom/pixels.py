"""Decoded pixel data of a DICOM object: its stored values, what they are, and which of them mean "no pixel"."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from frerec.errors import InputError
from frerec.io.dicom.decoders import decode

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = {
    "RGB": "RGB",
    # The codecs of JPEG 2000 undo its two colour transforms themselves.
    "YBR_RCT": "RGB",
    "YBR_ICT": "RGB",
    "YBR_FULL": "YBR_FULL",
    # Decoders bring the subsampled chroma to full resolution.
    "YBR_FULL_422": "YBR_FULL",
}
# Defined by PS3.3 C.7.6.3.1.2 but not read; any other word may be anything and is not quoted.
_DEFINED = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "XYB")
_NEEDED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
_NEEDED_OF_INTEGERS = ("BitsStored", "PixelRepresentation")


@dataclass(frozen=True)
class DicomPixels:
    """Decoded stored values of one object.

    Args:
        stored: (frames, rows, columns, samples), native byte order.
        photometric: what ``stored`` is: MONOCHROME1, MONOCHROME2, RGB, YBR_FULL or PALETTE COLOR.
        bits_stored: significant bits of integer values.
        keyword: element the values came from.
    """

    stored: npt.NDArray[Any]
    photometric: str
    bits_stored: int
    keyword: str

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest storable integer."""
        if self.stored.dtype.kind == "i":
            return -(1 << (self.bits_stored - 1)), (1 << (self.bits_stored - 1)) - 1
        return 0, (1 << self.bits_stored) - 1


def check_attributes(path: Path, dataset: Dataset) -> str:
    """Refuse an object whose attributes describe no image that is read here.

    Returns:
        The keyword of its pixel data element.

    Raises:
        InputError: no pixel data, or an attribute that its decoding needs is missing or not supported.
    """
    keyword = next((name for name in PIXEL_KEYWORDS if name in dataset), None)
    if keyword is None:
        raise InputError(path, "it has no pixel data", "Leave it out, or fetch it again if it should have")
    needed = [*_NEEDED, *(_NEEDED_OF_INTEGERS if keyword == "PixelData" else ())]
    if str(dataset.get("PhotometricInterpretation")) in _COLOUR:
        needed.append("PlanarConfiguration")
    missing = [name for name in needed if dataset.get(name) in (None, "")]
    if missing:
        raise InputError(path, f"it lacks {', '.join(missing)}", "Fetch it again or repair its header")
    rows, columns = _whole(path, dataset, "Rows"), _whole(path, dataset, "Columns")
    if rows == 0 or columns == 0:
        raise InputError(path, f"zero-size image ({rows} x {columns})", "Fetch or export it again")
    if len(dataset[keyword].value or b"") == 0:
        text = f"its pixel data is empty, though {rows} x {columns} pixels are declared"
        raise InputError(path, text, "Fetch or export it again")
    photometric, samples = str(dataset.PhotometricInterpretation), _whole(path, dataset, "SamplesPerPixel")
    wanted = 1 if photometric in (*_MONOCHROME, "PALETTE COLOR") else 3 if photometric in _COLOUR else 0
    if wanted == 0:
        named = f"photometric interpretation {photometric!r} is not supported"
        text = named if photometric in _DEFINED else "its photometric interpretation is none that DICOM defines"
        raise InputError(path, text, "Convert it to MONOCHROME2 or RGB")
    if samples != wanted:
        text = f"{photometric} with {samples} samples per pixel contradicts itself"
        raise InputError(path, text, "Repair its header")
    _check_bits(path, dataset, keyword)
    return keyword


def _check_bits(path: Path, dataset: Dataset, keyword: str) -> None:
    allocated = _whole(path, dataset, "BitsAllocated")
    if allocated == 1:
        raise InputError(path, "it has only 1 bit per pixel", "Leave it out: a mask is not an image to recalibrate")
    if allocated not in (8, 16, 32, 64):
        text = f"its pixels are packed: {allocated} bits are allocated for each"
        raise InputError(path, text, "Convert it to 8 or 16 bits allocated with another tool")
    if keyword == "PixelData":
        stored = _whole(path, dataset, "BitsStored")
        if not 1 <= stored <= allocated:
            raise InputError(path, f"{stored} bits stored do not fit the {allocated} allocated", "Repair its header")
        if _whole(path, dataset, "PixelRepresentation") not in (0, 1):
            raise InputError(path, "its PixelRepresentation is neither 0 nor 1", "Repair its header")
    if _whole(path, dataset, "NumberOfFrames", 1) < 1:
        raise InputError(path, "its NumberOfFrames is negative", "Repair its header")


def _whole(path: Path, dataset: Dataset, keyword: str, otherwise: int = 0) -> int:
    try:
        value = dataset.get(keyword)
        return otherwise if value in (None, "") else int(value)
    except Exception as error:  # pydicom raises what it likes
        raise InputError(path, f"its {keyword} is not one whole number", "Repair its header") from error


def decode_pixels(path: Path, dataset: Dataset) -> DicomPixels:
    """Decode all frames of an object.

    Raises:
        InputError: see ``check_attributes`` and ``dicom_decoders.decode``.
    """
    keyword = check_attributes(path, dataset)
    with warnings.catch_warnings(), _whole_cells(path, dataset):
        warnings.simplefilter("ignore")
        array, photometric = decode(path, dataset)
    frames = _whole(path, dataset, "NumberOfFrames", 1)
    shape = (frames, int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel))
    if array.size != np.prod(shape):
        text = f"its pixel data holds {array.size} values, but {' x '.join(map(str, shape))} are declared"
        raise InputError(path, text, "Fetch it again: it is truncated or its header is wrong")
    stored = np.ascontiguousarray(array.reshape(shape)).astype(array.dtype.newbyteorder("="), copy=False)
    bits = 8 * stored.dtype.itemsize
    if keyword == "PixelData":
        bits = min(int(dataset.get("BitsStored") or bits), bits)
        stored = _significant_bits(stored, bits, _high_bit(path, dataset, stored, bits))
    return DicomPixels(stored, _COLOUR.get(photometric, photometric), bits, keyword)


@contextmanager
def _whole_cells(path: Path, dataset: Dataset) -> Iterator[None]:
    """Keep pydicom from clearing bits where High Bit says that they are not the upper ones."""
    stored = dataset.get("BitsStored")
    if stored is None or _whole(path, dataset, "HighBit", stored - 1) == stored - 1 or _is_compressed(dataset):
        yield
        return
    dataset.BitsStored = dataset.BitsAllocated
    try:
        yield
    finally:
        dataset.BitsStored = stored


def _is_compressed(dataset: Dataset) -> bool:
    return bool(dataset.file_meta.TransferSyntaxUID.is_encapsulated)


def _significant_bits(stored: npt.NDArray[Any], bits: int, high: int) -> npt.NDArray[Any]:
    """The bits up to the highest one of the pixel, with the sign extended; others may hold overlays (PS3.5 8.1.1)."""
    width = 8 * stored.dtype.itemsize
    if bits == width or stored.dtype.kind not in "iu":
        return stored
    return np.right_shift(np.left_shift(stored, width - 1 - high), width - bits)


def _high_bit(path: Path, dataset: Dataset, stored: npt.NDArray[Any], bits: int) -> int:
    """Where the most significant bit of each pixel is.

    High Bit is one less than Bits Stored (PS3.5 8.1.1). Editions before 2011 allowed pixels anywhere in their cell; but
    headers that say so are often wrong, so the cells have to agree: what lies below the pixel is empty, or holds an
    overlay. Decoders of compressed data give the pixel at the low end whatever the header says.
    """
    usual, width = bits - 1, 8 * stored.dtype.itemsize
    high = _whole(path, dataset, "HighBit", usual)
    if high == usual or bits == width or stored.dtype.kind not in "iu" or _is_compressed(dataset):
        return usual
    places = [dataset.get((group, 0x0102)) for group in range(0x6000, 0x6020, 2)]
    others = sum({1 << int(place.value) for place in places if place is not None and place.value})
    used = int(np.bitwise_or.reduce(stored.view(f"u{stored.dtype.itemsize}"), axis=None)) & ~others
    if usual < high < width and not used & ((1 << (high - usual)) - 1):
        return high
    extended = stored.dtype.kind == "i" and -(1 << usual) <= stored.min() and stored.max() < 1 << usual
    if used < 1 << bits or extended:
        return usual
    text = f"its pixels fit neither High Bit {high} nor {bits} bits stored"
    raise InputError(path, text, "Repair its header: High Bit is one less than Bits Stored")


def padding_range(dataset: Dataset, pixels: DicomPixels) -> tuple[int, int] | None:
    """The stored values that mean "no pixel here" (PS3.3 C.7.5.1.1.2); gray images only.

    Returns:
        A closed interval, or None.
    """
    value = dataset.get("PixelPaddingValue")
    if value in (None, "") or pixels.photometric not in _MONOCHROME or pixels.keyword != "PixelData":
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [int(value), int(limit) if limit not in (None, "") else int(value)]
    low, high = pixels.limits
    # A header may state the bit pattern of a signed value as unsigned, or the reverse.
    span = 1 << pixels.bits_stored
    ends = [end if low <= end <= high else (end - low) % span + low for end in ends]
    return min(ends), max(ends)
