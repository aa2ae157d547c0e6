"""One DICOM object: from its file to the physical values of its frames, and back to values to store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset

from frerec.io.dicom.files import read_dataset, refuse_malformed
from frerec.io.dicom.pixels import DicomPixels, decode_pixels, padding_range
from frerec.io.dicom.values import ValueRule, value_rules
from frerec.io.formats import InputFile
from frerec.io.likeness import Likeness, combine
from frerec.io.reading import to_float32
from frerec.io.restoring import EncodedPixels, Scale, changed_voxels, count_clipped, encode_integers


@dataclass(frozen=True)
class DicomFrames:
    """One decoded DICOM object.

    Args:
        dataset: its header and pixel data.
        pixels: stored values.
        rules: of each frame.
        padding: closed interval of stored values that mean "no pixel here", or None.
        physical: per frame (channels, rows, columns) float32.
    """

    dataset: FileDataset
    pixels: DicomPixels
    rules: list[ValueRule]
    padding: tuple[int, int] | None
    physical: list[npt.NDArray[np.float32]]

    def padded(self, frame: int) -> npt.NDArray[np.bool_]:
        """Which pixels of a frame are padding, (rows, columns)."""
        stored = self.pixels.stored[frame, ..., 0]
        if self.padding is None:
            return np.zeros(stored.shape, np.bool_)
        return (stored >= self.padding[0]) & (stored <= self.padding[1])


def open_frames(file: InputFile) -> DicomFrames:
    """Decode a DICOM file.

    Raises:
        InputError: whatever makes it unusable.
    """
    path = file.path
    dataset = read_dataset(path, file.stream())
    with refuse_malformed(path, dataset):
        pixels = decode_pixels(path, dataset)
        rules = value_rules(path, dataset, pixels)
        padding = padding_range(dataset, pixels)
    physical = [to_float32(path, rule.physical(frame)) for rule, frame in zip(rules, pixels.stored, strict=True)]
    return DicomFrames(dataset, pixels, rules, padding, physical)


def restore_frames(file: InputFile, new: Mapping[int, npt.NDArray[np.float32]], scale: Scale) -> EncodedPixels:
    """Values to store of one processed DICOM object, unchanged and padding pixels as they were.

    Args:
        file: the original.
        new: physical values of each frame, by its index in the file, (channels, rows, columns).
        scale: see there.
    """
    frames = open_frames(file)
    pixels = frames.pixels
    changed = []
    for index, old in enumerate(frames.physical):
        differs = changed_voxels(new[index], old, scale.largest).any(axis=0)
        changed.append(differs & ~frames.padded(index))
    any_change = any(frame.any() for frame in changed)
    kind = frames.rules[0].kind
    # Decoded YBR_FULL_422 is another kind of colour than the file's, and few objects may hold it: RGB may stand in all.
    decoded = kind == "ybr" and frames.dataset.PhotometricInterpretation != "YBR_FULL"
    if decoded or (kind in ("palette", "ybr") and any_change):
        return _as_rgb(file, frames, new, changed, scale)
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
    likeness = _likeness(frames, written, new, scale)
    kinds = pixels.photometric, pixels.bits_stored, pixels.keyword
    return EncodedPixels(file, _layout(result), any_change, *kinds, clipped, likeness)


def _as_rgb(
    file: InputFile,
    frames: DicomFrames,
    new: Mapping[int, npt.NDArray[np.float32]],
    changed: list[npt.NDArray[np.bool_]],
    scale: Scale,
) -> EncodedPixels:
    table = frames.rules[0].table
    dtype = np.dtype(np.uint8) if table is None else table.dtype
    result = np.stack([np.moveaxis(frame, 0, -1) for frame in frames.physical]).astype(dtype)
    high, clipped = int(np.iinfo(dtype).max), 0
    for index, differs in enumerate(changed):
        wanted = np.moveaxis(new[index], 0, -1).astype(np.float64)
        clipped += count_clipped(wanted, differs[..., None], 0, high)
        result[index][differs] = encode_integers(wanted, 0, high, dtype)[differs]
    any_change = any(frame.any() for frame in changed)
    likeness = _likeness(frames, [np.moveaxis(frame, -1, 0) for frame in result], new, scale)
    bits = 8 * dtype.itemsize
    return EncodedPixels(file, _layout(result), any_change, "RGB", bits, clipped=clipped, likeness=likeness)


def _likeness(
    frames: DicomFrames, written: Sequence[npt.NDArray[Any]], new: Mapping[int, npt.NDArray[np.float32]], scale: Scale
) -> Likeness:
    parts = []
    integer = frames.pixels.stored.dtype.kind in "iu"
    for index, (old, stored) in enumerate(zip(frames.physical, written, strict=True)):
        real, step = ~frames.padded(index), abs(frames.rules[index].slope) if integer else 0.0
        parts.append(Likeness.of(old[:, real], stored[:, real], new[index][:, real], scale.width, step))
    return combine(parts)


def _layout(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if stored.shape[-1] == 1:
        stored = stored[..., 0]
    return stored[0] if len(stored) == 1 else stored
