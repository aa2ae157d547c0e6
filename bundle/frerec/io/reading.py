"""What every reader hands over, and the checks common to all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from frerec.errors import InputError
from frerec.io.records import Source

# Deflate reaches 1032:1 and LZW about 2700:1; with pixels of a few bits that become bytes, some four times that.
_MOST_BY_ANY_PACKING = 10_000
# Beyond this size a ratio that only blank or made files have is refused.
_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO = 1 << 30, 200


class Reading(NamedTuple):
    """An image as read.

    Args:
        array: physical values, (C, H, W) or (C, H, W, D), float32.
        affine: (4, 4) matrix from array indices (row, column, slice) to millimetres, RAS+.
        source: where it came from; its relative path is the bare name.
    """

    array: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    source: Source


def check_promise(path: Path, wanted: int, held: int, *, packed: bool) -> None:
    """Refuse an image whose header asks for more bytes than its file can hold, before memory is taken for it.

    Args:
        path: named in errors.
        wanted: bytes of the decoded image as the header states it.
        held: bytes of the file from which they are to come.
        packed: whether they are compressed there.

    Raises:
        InputError: the header is damaged, the file truncated, or a decompression bomb.
    """
    if wanted > held * (_MOST_BY_ANY_PACKING if packed else 1):
        text = f"truncated or damaged: its header promises {wanted} bytes of pixels, but the file holds {held}"
        raise InputError(path, text, "Fetch or export it again")
    if packed and wanted > max(_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO * held):
        text = f"it would unpack from {held} to {wanted} bytes, as only blank images and decompression bombs do"
        raise InputError(path, text, "Save it uncompressed if it is genuine")


def check_size(path: Path, shape: tuple[int, ...]) -> None:
    """Refuse an image without voxels.

    Raises:
        InputError: an axis has length zero.
    """
    if 0 in shape or not shape:
        raise InputError(path, f"zero-size image ({' x '.join(map(str, shape))})", "Fetch or export it again")


def to_float32(path: Path, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Physical values of any real type as float32.

    Raises:
        InputError: a value is NaN, infinite, or too large for float32.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        kind = "NaN" if np.isnan(values).any() else "infinite"
        raise InputError(path, f"it holds {kind} voxels", "Replace them by a number, such as the background's value")
    with np.errstate(over="ignore"):
        result = values.astype(np.float32)
    if values.dtype.itemsize > 4 and not np.isfinite(result).all():
        raise InputError(path, "it holds values beyond single precision (3.4e38)", "Rescale its values")
    return result


def as_channels(path: Path, array: npt.NDArray[Any], channels: int | None) -> tuple[npt.NDArray[Any], bool]:
    """Bring an array to the wanted number of channels where nothing is lost by it.

    Args:
        path: named in errors.
        array: (C, *spatial).
        channels: wanted; None for those of the file.

    Returns:
        The array, or its first channel where three equal channels (gray saved as colour) are wanted as one; and whether
        that was so. The inverse is `as_file_channels`.

    Raises:
        InputError: the channels differ from those wanted and cannot be changed without loss.
    """
    found = array.shape[0]
    replicated = bool(channels == 1 and found == 3 and (array[0] == array[1]).all() and (array[0] == array[2]).all())
    array = array[:1] if replicated else array
    if channels is not None and array.shape[0] != channels:
        kind = "colour" if found == 3 else "gray"
        shipped = {
            1: ", such as those in models,",
            3: ", such as models/fundus for fundus photographs (in MONAI Label the model frerec_fundus),",
        }
        remedy = f"Use weights and a bank for {found} channel{'s'[: found > 1]}{shipped.get(found, '')} or leave it out"
        raise InputError(path, f"{kind} image with {found} channel{'s'[: found > 1]}, but {channels} wanted", remedy)
    return array, replicated


def as_file_channels(array: npt.NDArray[np.float32], source: Source) -> npt.NDArray[np.float32]:
    """Inverse of `as_channels`: three equal channels again where they had become one."""
    return np.repeat(array, 3, axis=0) if source.replicated else array
