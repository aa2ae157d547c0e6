"""From physical values back to what a file stores: unchanged voxels keep theirs, all others are rounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from frerec.io.formats import InputFile
from frerec.io.likeness import Likeness

# Normalising to float32 and back moves a value by at most about 1.5 * 2**-24 of the largest number involved (three
# roundings); four times that is still 1/30 of a grey level of a 16 bit image.
RELATIVE_TOLERANCE = 2.0**-21

#: ``EncodedPixels.photometric`` of a picture whose zero is white.
MINISWHITE = "MINISWHITE"


class Scale(NamedTuple):
    """Magnitudes that decide what counts as changed and as cut off.

    Args:
        largest: the largest magnitude that the normalisation dealt with (its bounds, the image's extremes).
        width: of the range of values in use, see ``likeness.Likeness.of``.
    """

    largest: float
    width: float


@dataclass(frozen=True)
class EncodedPixels:
    """The pixel values of one output file, laid out as that file stores them.

    Args:
        original: the input file, whose header the writer copies.
        array: values as stored. DICOM: shaped as pydicom's ``pixel_array``, ([frames,] rows, columns[, samples]),
            frames in the file's own order. NIfTI: shaped as in the header, before ``scl_slope``, in the file's byte
            order. Pictures: (rows, columns[, samples]) with the original alpha channel last where there was one.
        changed: whether any value differs from the original's.
        photometric: DICOM Photometric Interpretation of ``array``; it differs from the file's for compressed colour
            (decoded to RGB or YBR_FULL) and for changed PALETTE COLOR images (RGB). ``MINISWHITE`` for a TIFF whose
            zero is white. Empty for other formats.
        bits_stored: DICOM Bits Stored of ``array``; Bits Allocated is its item size. 0 for other formats.
        keyword: DICOM element that takes the values: PixelData, FloatPixelData or DoubleFloatPixelData.
        clipped: number of samples beyond what can be stored, which were set to the nearest storable value.
        likeness: comparison with the original in physical values, padding left out.
    """

    original: InputFile
    array: npt.NDArray[Any]
    changed: bool
    photometric: str = ""
    bits_stored: int = 0
    keyword: str = "PixelData"
    clipped: int = 0
    likeness: Likeness = field(default_factory=Likeness)


def changed_voxels(new: npt.NDArray[np.float32], old: npt.NDArray[np.float32], largest: float) -> npt.NDArray[np.bool_]:
    """Where an image really differs from the one that was read.

    Two float32 values count as the same when they differ by no more than the rounding of a range normalisation and its
    inverse can explain.

    Args:
        new: physical values to be written.
        old: physical values as read from the original, same shape.
        largest: see `Scale`.
    """
    tolerance = RELATIVE_TOLERANCE * np.maximum(np.abs(old), np.float32(largest))
    return np.abs(new - old) > tolerance


def encode(
    wanted: npt.NDArray[Any],
    changed: npt.NDArray[np.bool_],
    original: npt.NDArray[Any],
    limits: tuple[int, int] | None = None,
) -> tuple[npt.NDArray[Any], int]:
    """Values to store, in the type of the original, and how many of them had to be clipped.

    Args:
        wanted: values before rounding, any shape.
        changed: where they differ from the original; of its shape.
        original: values as stored; kept where nothing changed.
        limits: smallest and largest storable integer; None for those of the type.
    """
    if original.dtype.kind not in "iu":
        return np.where(changed, wanted.astype(original.dtype), original).astype(original.dtype), 0
    low, high = limits or (int(np.iinfo(original.dtype).min), int(np.iinfo(original.dtype).max))
    clipped = count_clipped(wanted, changed, low, high)
    encoded = encode_integers(wanted, low, high, original.dtype)
    return np.where(changed, encoded, original).astype(original.dtype), clipped


def count_clipped(values: npt.NDArray[np.float64], changed: npt.NDArray[np.bool_], low: int, high: int) -> int:
    """How many of the samples that changed `encode_integers` clips; ``changed`` is broadcast to ``values``."""
    rounded = np.rint(values)
    return int(np.count_nonzero(((rounded < low) | (rounded > high)) & changed))


def encode_integers(
    values: npt.NDArray[np.float64], low: int, high: int, dtype: npt.DTypeLike, forbidden: tuple[int, int] | None = None
) -> npt.NDArray[np.generic]:
    """Round to the nearest storable integer.

    Args:
        values: wanted values, any shape.
        low: smallest storable value; smaller ones are clipped to it.
        high: largest storable value; larger ones are clipped to it.
        dtype: integer type of the result.
        forbidden: closed interval of values with a meaning of their own (pixel padding); a result in it moves to the
            nearer side of it that is storable.
    """
    # 2**63 - 1 and the like are not float64 numbers: stay below them, or the cast overflows.
    top = float(high) if int(float(high)) <= high else float(np.nextafter(float(high), 0.0))
    rounded = np.clip(np.rint(values), low, top)
    if forbidden is not None:
        below, above = forbidden[0] - 1, forbidden[1] + 1
        inside = (rounded >= forbidden[0]) & (rounded <= forbidden[1])
        to_below = (rounded - below <= above - rounded) if above <= high else np.ones(rounded.shape, bool)
        if below < low:
            to_below = np.zeros(rounded.shape, bool)
        rounded = np.where(inside, np.where(to_below, below, above), rounded)
    return rounded.astype(dtype)
