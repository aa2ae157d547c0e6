"""What every reader hands over, and the checks common to all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frerec.errors import InputError


@dataclass(frozen=True)
class Reading:
    """An image as read from disk.

    Args:
        array: physical values, (C, H, W) or (C, H, W, D), float32.
        affine: (4, 4) matrix from array indices (row, column, slice) to millimetres, RAS+.
        sha256: checksum of the file or series.
        format: as in ``source.Source``.
        details: as in ``source.Source``.
    """

    array: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    sha256: str
    format: str
    details: dict[str, Any]


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def to_float32(path: Path, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Physical values as float32.

    Args:
        path: named in errors.
        values: physical values of any real type.

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


def check_size(path: Path, shape: tuple[int, ...]) -> None:
    """Refuse an image without voxels.

    Raises:
        InputError: an axis has length zero.
    """
    if 0 in shape or not shape:
        raise InputError(path, f"zero-size image ({' x '.join(map(str, shape))})", "Fetch or export it again")


def as_channels(
    path: Path, array: npt.NDArray[Any], channels: int | None, details: dict[str, Any]
) -> npt.NDArray[Any]:
    """Bring the array to the wanted number of channels where nothing is lost by it, and note it in ``details``.

    Args:
        path: named in errors.
        array: (C, *spatial).
        channels: wanted; None for those of the file.
        details: gets ``channels`` and ``replicated``.

    Returns:
        The array, or its first channel where three equal channels (gray saved as colour) are wanted as one.

    Raises:
        InputError: the channels differ from those wanted and cannot be changed without loss.
    """
    found = array.shape[0]
    details["replicated"] = False
    if channels == 1 and found == 3 and (array[0] == array[1]).all() and (array[0] == array[2]).all():
        array, details["replicated"] = array[:1], True
    details["channels"] = int(array.shape[0])
    if channels is not None and array.shape[0] != channels:
        kind = "colour" if found == 3 else "gray"
        remedy = f"Use weights and a bank for {found} channel{'s'[: found > 1]} or leave the file out"
        raise InputError(path, f"{kind} image with {found} channel{'s'[: found > 1]}, but {channels} wanted", remedy)
    return array


def as_file_channels(array: npt.NDArray[np.float32], details: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """Inverse of ``as_channels``: three equal channels again where they had become one."""
    return np.repeat(array, 3, axis=0) if details.get("replicated") else array
