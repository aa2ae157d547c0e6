"""Processed DICOM images back to stored values, one object at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frerec.io.dicom.reader import DicomFrames, open_frames
from frerec.io.likeness import Likeness, combine
from frerec.io.stored_pixels import StoredPixels, changed_voxels, count_clipped, encode_integers


def restore_file(
    path: Path, new: Mapping[int, npt.NDArray[np.float32]], scale: float, width: float
) -> StoredPixels:
    """Stored values of one processed DICOM object, unchanged and padding pixels as they were.

    Args:
        path: the original.
        new: physical values of each frame, by its index in the file, (channels, rows, columns).
        scale: as in ``stored_pixels.changed_voxels``.
        width: of the range of values in use, see ``likeness.Likeness.of``.
    """
    frames = open_frames(path)
    pixels = frames.pixels
    changed = []
    for index, old in enumerate(frames.physical):
        differs = changed_voxels(new[index], old, scale).any(axis=0)
        changed.append(differs & ~frames.padded(index))
    any_change = any(frame.any() for frame in changed)
    kind = frames.rules[0].kind
    # Decoded YBR_FULL_422 is another kind of colour than the file's, and few objects may hold it: RGB may stand in all.
    decoded = kind == "ybr" and frames.dataset.PhotometricInterpretation != "YBR_FULL"
    if decoded or (kind in ("palette", "ybr") and any_change):
        return _as_rgb(path, frames, new, changed, width)
    result = pixels.stored.copy()
    low, high = pixels.limits
    clipped = 0
    for index, differs in enumerate(changed):
        if differs.any():
            wanted = frames.rules[index].stored(new[index].astype(np.float64))
            if result.dtype.kind in "iu":
                clipped += count_clipped(wanted, differs[..., None], low, high)
                encoded = encode_integers(wanted, low, high, result.dtype, frames.padding)
            else:
                encoded = wanted.astype(result.dtype)
            result[index][differs] = encoded[differs]
    written = [rule.physical(frame) for rule, frame in zip(frames.rules, result, strict=True)]
    stored = pixels.photometric, pixels.bits_stored, pixels.keyword
    likeness = _likeness(frames, written, new, width)
    return StoredPixels(path, _layout(result), any_change, *stored, clipped, likeness)


def _as_rgb(
    path: Path,
    frames: DicomFrames,
    new: Mapping[int, npt.NDArray[np.float32]],
    changed: list[npt.NDArray[np.bool_]],
    width: float,
) -> StoredPixels:
    table = frames.rules[0].table
    dtype = np.dtype(np.uint8) if table is None else table.dtype
    result = np.stack([np.moveaxis(frame, 0, -1) for frame in frames.physical]).astype(dtype)
    high, clipped = int(np.iinfo(dtype).max), 0
    for index, differs in enumerate(changed):
        wanted = np.moveaxis(new[index], 0, -1).astype(np.float64)
        clipped += count_clipped(wanted, differs[..., None], 0, high)
        result[index][differs] = encode_integers(wanted, 0, high, dtype)[differs]
    any_change = any(frame.any() for frame in changed)
    likeness = _likeness(frames, [np.moveaxis(frame, -1, 0) for frame in result], new, width)
    bits = 8 * dtype.itemsize
    return StoredPixels(path, _layout(result), any_change, "RGB", bits, clipped=clipped, likeness=likeness)


def _likeness(
    frames: DicomFrames, written: Sequence[npt.NDArray[Any]], new: Mapping[int, npt.NDArray[np.float32]], width: float
) -> Likeness:
    parts = []
    integer = frames.pixels.stored.dtype.kind in "iu"
    for index, (old, stored) in enumerate(zip(frames.physical, written, strict=True)):
        real, step = ~frames.padded(index), abs(frames.rules[index].slope) if integer else 0.0
        parts.append(Likeness.of(old[:, real], stored[:, real], new[index][:, real], width, step))
    return combine(parts)


def _layout(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if stored.shape[-1] == 1:
        stored = stored[..., 0]
    return stored[0] if len(stored) == 1 else stored
