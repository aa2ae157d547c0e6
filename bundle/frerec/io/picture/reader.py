"""Pictures: PNG, TIFF, JPEG and BMP of 8 or 16 bits (TIFF also 32, 64 and floating point), gray or RGB, with alpha."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frerec.errors import InputError
from frerec.io.likeness import Likeness
from frerec.io.picture.decoding import Picture, open_with_pillow, why_undecodable
from frerec.io.picture.tiff import open_tiff
from frerec.io.ranges import measure, offer_stored
from frerec.io.reading import Reading, as_channels, as_file_channels, check_size, file_sha256, to_float32
from frerec.io.stored_pixels import MINISWHITE, StoredPixels, changed_voxels, count_clipped, encode_integers


def read_picture(path: Path, kind: str, channels: int | None = None) -> Reading:
    """Read a picture; its physical values are its stored values.

    Palettes are resolved to gray (where all their colours are) or RGB; alpha is kept aside, and so is the one
    transparent value of a PNG; an EXIF or TIFF orientation is not applied. A TIFF whose zero is white (MINISWHITE) is
    turned over, so that brighter is higher. The affine is the identity: a picture states no position in a patient.

    Args:
        path: the file.
        kind: ``png``, ``tiff``, ``jpeg`` or ``bmp``.
        channels: wanted number of channels, or None; see ``reading.as_channels``.

    Raises:
        InputError: truncated or unsupported, see the message.
    """
    picture = open_picture(path, kind)
    stored = np.moveaxis(picture.colour, -1, 0)
    check_size(path, stored.shape)
    details: dict[str, Any] = {"warnings": picture.warnings}
    array = as_channels(path, to_float32(path, stored), channels, details)
    ranges = measure(path, array)
    if stored.dtype.kind == "u" and stored.dtype.itemsize <= 2:
        offer_stored(ranges, (0, np.iinfo(stored.dtype).max))
        # What uses 12 of 16 bits keeps to them.
        details["limits"] = ranges.get("bits", ranges["stored"])
    details.update(
        range=ranges,
        shape=list(array.shape),
        dtype=stored.dtype.str,
        last_axis="none",
        spacing=[1.0, 1.0],
        geometry="pixel",
        mode=picture.mode,
        alpha=picture.alpha is not None,
        palette=picture.palette,
    )
    return Reading(array, np.eye(4), file_sha256(path), kind, details)


def restore_picture(
    path: Path, kind: str, array: npt.NDArray[np.float32], details: Mapping[str, Any], scale: float, width: float
) -> StoredPixels:
    """Stored values of a processed picture, unchanged pixels as they were.

    Args:
        path: the original.
        kind: its format.
        array: (C, H, W) physical values.
        details: of its ``Source``.
        scale: as in ``stored_pixels.changed_voxels``.
        width: of the range of values in use, see ``likeness.Likeness.of``.
    """
    picture = open_picture(path, kind)
    original = picture.colour
    new = np.moveaxis(as_file_channels(array, details), 0, -1)
    changed = changed_voxels(new, original.astype(np.float32), scale)
    clipped = 0
    if original.dtype.kind in "iu":
        wanted, storable = new.astype(np.float64), np.iinfo(original.dtype)
        low, high = (int(end) for end in details.get("limits", (storable.min, storable.max)))
        clipped = count_clipped(wanted, changed, low, high)
        encoded = encode_integers(wanted, low, high, original.dtype)
    else:
        encoded = new.astype(original.dtype)
    stored = np.where(changed, encoded, original)
    likeness = Likeness.of(original, stored, new, width, float(original.dtype.kind in "iu"))
    if picture.inverted:
        stored = np.iinfo(original.dtype).max - stored
    if picture.alpha is not None:
        stored = np.concatenate([stored, picture.alpha], axis=-1)
    array = stored[..., 0] if stored.shape[-1] == 1 else stored
    kind_of_gray = MINISWHITE if picture.inverted else ""
    return StoredPixels(path, array, bool(changed.any()), photometric=kind_of_gray, clipped=clipped, likeness=likeness)


def open_picture(path: Path, kind: str) -> Picture:
    """Decode a picture without losing depth.

    Args:
        path: the file.
        kind: ``png``, ``tiff``, ``jpeg`` or ``bmp``.

    Raises:
        InputError: truncated, several pages, or a kind that is not supported.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return open_tiff(path) if kind == "tiff" else open_with_pillow(path, kind)
    except InputError:
        raise
    except Exception as error:  # the decoders raise anything from OSError to struct.error on damaged files
        raise why_undecodable(path, kind, error) from error
