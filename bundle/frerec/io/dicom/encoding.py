"""Pixel values into a DICOM data set, with every attribute that describes them brought in line."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID

from frerec.io.restoring import EncodedPixels

#: Lossy Image Compression Method (PS3.3 C.7.6.1.1.5.1) of the transfer syntaxes that may be lossy.
LOSSY_METHODS = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.93": "ISO_15444_2",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
    "1.2.840.10008.1.2.4.112": "ISO_18181_1",
}
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_ENCODING_KEYWORDS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "EncapsulatedPixelDataValueTotalLength")
_PALETTE_KEYWORDS = tuple(
    f"{prefix}{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue", "Alpha")
    for prefix, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
)


def put_pixels(dataset: Dataset, pixels: EncodedPixels) -> None:
    """Replace the pixels of a data set, in place, and the attributes that describe their encoding.

    Rescale, windows, padding value and every other attribute that gives the values a meaning stay: the new values are
    in the units of the old ones. RGB is stored by pixel (Planar Configuration 0), YBR_FULL as its source is (ultrasound
    asks for planes: PS3.3 C.8.5.6.1.16). What was PALETTE COLOR and is now RGB is stored with 8 bits. The
    data set is to be written in a native little endian transfer syntax.

    Args:
        dataset: the object; its own pixels and lossy history are still those of the source.
        pixels: the new stored values.
    """
    keep_lossy_history(dataset)
    array, bits = pixels.array, pixels.bits_stored
    colour = pixels.photometric not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR" and pixels.photometric != "PALETTE COLOR":
        _remove(dataset, (*_PALETTE_KEYWORDS, "PaletteColorLookupTableUID"))
        if array.dtype == np.uint16:
            # Tables may have 16 bits, RGB in most objects only 8 (ultrasound: PS3.3 C.8.5.6): the upper byte.
            array, bits = np.right_shift(array.astype(np.uint16), 8).astype(np.uint8), 8
    _remove(dataset, (*_PIXEL_KEYWORDS, *_ENCODING_KEYWORDS))
    dataset.SamplesPerPixel = array.shape[-1] if colour else 1
    dataset.PhotometricInterpretation = pixels.photometric
    dataset.BitsAllocated = array.dtype.itemsize * 8
    by_plane = pixels.photometric == "YBR_FULL" and dataset.get("PlanarConfiguration") == 1
    _remove(dataset, ("PlanarConfiguration",))
    if colour:
        dataset.PlanarConfiguration = int(by_plane)
    if by_plane:
        array = np.moveaxis(array, -1, -3)
    data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    data += b"\0" * (len(data) % 2)
    if pixels.keyword == "PixelData":
        signed = array.dtype.kind == "i"
        dataset.BitsStored = bits
        dataset.HighBit = bits - 1
        dataset.PixelRepresentation = int(signed)
        _renew_extremes(dataset, array, colour, "SS" if signed else "US")
        dataset.add_new(0x7FE00010, "OB" if dataset.BitsAllocated <= 8 else "OW", data)
    else:
        _remove(dataset, ("BitsStored", "HighBit", "PixelRepresentation"))
        dataset.add_new(*((0x7FE00008, "OF") if pixels.keyword == "FloatPixelData" else (0x7FE00009, "OD")), data)


def keep_lossy_history(dataset: Dataset) -> None:
    """Write down that the source was compressed with loss, which its transfer syntax will no longer tell, in place.

    What the source says of itself is kept. Where it says nothing and its transfer syntax may be lossy, Lossy Image
    Compression (0028,2110) becomes 01, with the method and the ratio of this compression (PS3.3 C.7.6.1.1.5).

    Args:
        dataset: the object with the source's encapsulated pixels and file meta information.
    """
    syntax = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
    method = LOSSY_METHODS.get(str(syntax))
    if method is None or dataset.get("LossyImageCompression"):
        return
    dataset.LossyImageCompression = "01"
    if dataset.get("LossyImageCompressionMethod") or "PixelData" not in dataset:
        return
    frames = int(dataset.get("NumberOfFrames") or 1)
    size = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * frames * dataset.BitsStored / 8
    dataset.LossyImageCompressionRatio = f"{size / max(len(dataset.PixelData), 1):.2f}"
    dataset.LossyImageCompressionMethod = method


def free_embedded_overlays(dataset: Dataset) -> int:
    """Move overlays that sit in unused bits of the pixels into Overlay Data (60xx,3000), in place.

    DICOM retired the embedded form in 2004; new pixel values would erase such an overlay.

    Args:
        dataset: the object with its source's pixels.

    Returns:
        The number of overlays moved.
    """
    syntax = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
    if "PixelData" not in dataset or (syntax and UID(syntax).is_compressed and not UID(syntax).is_deflated):
        return 0
    moved = 0
    for group in range(0x6000, 0x6020, 2):
        position = dataset.get((group, 0x0102))
        if position is None or not position.value or (group, 0x3000) in dataset:
            continue
        order = "<" if not syntax or UID(syntax).is_little_endian else ">"
        words = np.frombuffer(dataset.PixelData, dtype=f"{order}u{dataset.BitsAllocated // 8}")
        words = words[: dataset.Rows * dataset.Columns * int(dataset.get("NumberOfFrames") or 1)]
        bits = np.packbits((words >> position.value) & 1 != 0, bitorder="little").tobytes()
        dataset.add_new((group, 0x3000), "OW", bits + b"\0" * (len(bits) % 2))
        dataset.add_new((group, 0x0100), "US", 1)
        dataset.add_new((group, 0x0102), "US", 0)
        moved += 1
    return moved


def _renew_extremes(dataset: Dataset, array: np.ndarray, colour: bool, vr: str) -> None:
    # The extremes of the series would need all of its files: they are optional, and better absent than wrong.
    present = "SmallestImagePixelValue" in dataset or "LargestImagePixelValue" in dataset
    _remove(
        dataset,
        (
            "SmallestImagePixelValue",
            "LargestImagePixelValue",
            "SmallestPixelValueInSeries",
            "LargestPixelValueInSeries",
        ),
    )
    if present and not colour and array.dtype.itemsize <= 2:
        dataset.add_new(0x00280106, vr, int(array.min()))
        dataset.add_new(0x00280107, vr, int(array.max()))


def _remove(dataset: Dataset, keywords: tuple[str, ...]) -> None:
    for keyword in keywords:
        if keyword in dataset:
            delattr(dataset, keyword)
