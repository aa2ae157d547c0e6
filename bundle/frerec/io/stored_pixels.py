"""Stored values ready to be written, and the one rule by which unchanged voxels keep theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from frerec.io.likeness import Likeness

# Normalising to float32 and back moves a value by at most about 1.5 * 2**-24 of the largest number involved (three
# roundings); four times that is still 1/30 of a grey level of a 16 bit image.
RELATIVE_TOLERANCE = 2.0**-21

#: ``StoredPixels.photometric`` of a picture whose zero is white.
MINISWHITE = "MINISWHITE"


@dataclass(frozen=True)
class StoredPixels:
    """The pixel values of one output file, laid out as that file stores them.

    Args:
        path: the original file, whose header the writer copies.
        array: stored values. DICOM: shaped as pydicom's ``pixel_array``, ([frames,] rows, columns[, samples]), frames
            in the file's own order. NIfTI: shaped as in the header, before ``scl_slope``, in the file's byte order.
            Pictures: (rows, columns[, samples]) with the original alpha channel last where there was one.
        changed: whether any value differs from the original's.
        photometric: DICOM Photometric Interpretation of ``array``; it differs from the file's for compressed colour
            (decoded to RGB or YBR_FULL) and for changed PALETTE COLOR images (RGB). ``MINISWHITE`` for a TIFF whose
            zero is white. Empty for other formats.
        bits_stored: DICOM Bits Stored of ``array``; Bits Allocated is its item size. 0 for other formats.
        keyword: DICOM element that takes the values: PixelData, FloatPixelData or DoubleFloatPixelData.
        clipped: number of samples beyond what can be stored, which were set to the nearest storable value.
        likeness: comparison with the original in physical values, padding left out.
    """

    path: Path
    array: npt.NDArray[np.generic]
    changed: bool
    photometric: str = ""
    bits_stored: int = 0
    keyword: str = "PixelData"
    clipped: int = 0
    likeness: Likeness = field(default_factory=Likeness)


def changed_voxels(
    new: npt.NDArray[np.float32], old: npt.NDArray[np.float32], scale: float
) -> npt.NDArray[np.bool_]:
    """Where an image really differs from the one that was read.

    Two float32 values count as the same when they differ by no more than the rounding of a range normalisation and its
    inverse can explain.

    Args:
        new: physical values to be written.
        old: physical values as read from the original, same shape.
        scale: largest magnitude that the normalisation dealt with (its bounds, the image's extremes).

    Returns:
        A boolean array of the same shape, true where the voxel changed.
    """
    tolerance = RELATIVE_TOLERANCE * np.maximum(np.abs(old), np.float32(scale))
    return np.abs(new - old) > tolerance


def count_clipped(values: npt.NDArray[np.float64], changed: npt.NDArray[np.bool_], low: int, high: int) -> int:
    """How many changed samples `encode_integers` clips.

    Args:
        values: wanted stored values.
        changed: which of them are stored at all; broadcast to ``values``.
        low: smallest storable value.
        high: largest storable value.
    """
    rounded = np.rint(values)
    return int(np.count_nonzero(((rounded < low) | (rounded > high)) & changed))


def encode_integers(
    values: npt.NDArray[np.float64], low: int, high: int, dtype: npt.DTypeLike, forbidden: tuple[int, int] | None = None
) -> npt.NDArray[np.generic]:
    """Round to the nearest storable integer.

    Args:
        values: wanted stored values, any shape.
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
