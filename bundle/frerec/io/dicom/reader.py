"""DICOM images: one picture, a volume or cine of frames in one object, or the slices of a series; and the way back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset

from frerec.errors import InputError
from frerec.io.dicom.files import refuse_malformed
from frerec.io.dicom.frames import DicomFrames, open_frames, restore_frames
from frerec.io.dicom.geometry import affine_of, order_planes, pixel_spacing, plane_of, slice_thickness, why_no_volume
from frerec.io.dicom.grouping import Slice, slice_of
from frerec.io.dicom.pixels import DicomPixels
from frerec.io.dicom.values import ValueRule, window
from frerec.io.formats import InputFile
from frerec.io.ranges import Ranges
from frerec.io.reading import Reading, as_channels, as_file_channels
from frerec.io.records import Source
from frerec.io.restoring import EncodedPixels, Scale

_RELATIVE_UNITS = ("MR", "NM", "PT")


@dataclass(frozen=True)
class _Stack:
    """Frames in the order of the array's third axis, and where they lie.

    Args:
        layers: physical values (channels, rows, columns) of each, and which pixels are padding.
        affine: of the array.
        spacing: along its spatial axes.
        last_axis: as in ``Source``, with ``frame_order``.
    """

    layers: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]]
    affine: npt.NDArray[np.float64]
    spacing: tuple[float, ...]
    last_axis: str
    frame_order: tuple[int, ...] = ()


def read_dicom(file: InputFile, channels: int | None = None) -> Reading:
    """Read a DICOM file.

    Values are physical: after Modality LUT or rescale, RGB for every kind of colour, and brighter-is-higher for
    MONOCHROME1 (reflected about the middle of the storable range). Padding pixels get the image's lowest value, so
    that their border is no edge, and keep their stored values when written.

    The frames of an enhanced object that lie parallel at distinct positions form a volume, ordered along their normal.
    Other frames (cine loops, screen captures, several time points or orientations in one object) come in the file's
    order, and the last axis of the source is ``frame``.

    Raises:
        InputError: whatever makes the file unusable.
    """
    frames = open_frames(file)
    with refuse_malformed(file.path, frames.dataset):
        warnings = _warnings(frames.dataset)
        stack = _stack_frames(file.path, frames, warnings)
    return _join((file,), stack, frames, warnings, channels)


def read_series(files: Sequence[InputFile], channels: int | None = None) -> Reading:
    """Read single-frame files as the slices of one volume, (C, rows, columns, slices).

    Slices are ordered by their position along the common normal, never by name or number. A sheared stack (gantry
    tilt) keeps its shear in the affine. A stack with uneven spacing or a missing slice is taken as it is, with a
    warning; the affine then has the mean spacing.

    Args:
        files: exactly those of the volume, in any order. A single one is read as that file.
        channels: wanted number of channels, or None.

    Raises:
        InputError: files that are no slices of one volume, or a file that cannot be used.
    """
    if len(files) == 1:
        return read_dicom(files[0], channels)
    files = sorted(files, key=lambda file: file.path)
    folder = _folder(files)
    slices: list[Slice] = []
    layers: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]] = []
    told: list[str] = []
    for file in files:
        try:
            frames = open_frames(file)
            one = slice_of(file.path, frames.dataset)
            if one is None:
                raise InputError(file.path, "it states no place in a volume of slices", "Load it as a file of its own")
            difference = one.difference(slices[0]) if slices else ""
            if not difference and layers and frames.physical[0].shape != layers[0][0].shape:
                difference = "the shape of its pixels"
            if difference:
                reason = f"differs from the other slices in {difference}"
                raise InputError(file.path, reason, "Load it as a file of its own")
            with refuse_malformed(file.path):
                told += _warnings(frames.dataset)
        except InputError as error:
            # A volume is one item to its user, who has to learn which of its files is meant.
            reason = f"{os.path.relpath(file.path, folder)}: {error.reason}"
            raise InputError(folder, reason, error.remedy) from error
        slices.append(one)
        layers.append((frames.physical[0], frames.padded(0)))
    planes = [one.plane for one in slices]
    reason = why_no_volume(planes, "slices")
    if reason:
        raise InputError(folder, reason, "Name the files of one volume, or let inference.json group the folder")
    order, step, warnings = order_planes(planes, "slices")
    spacing = slices[order[0]].spacing
    affine = affine_of(planes[order[0]], spacing, step)
    stack = _Stack([layers[i] for i in order], affine, (*spacing, float(np.linalg.norm(step))), "slice")
    first = open_frames(files[order[0]])
    return _join(tuple(files[i] for i in order), stack, first, [*dict.fromkeys(told), *warnings], channels)


def restore_dicom(source: Source, array: npt.NDArray[np.float32], scale: Scale) -> list[EncodedPixels]:
    """Values to store of a processed image: one item for a file, one for each slice of a series, in slice order.

    Args:
        source: of the image that was read.
        array: (C, H, W) or (C, H, W, D) physical values.
        scale: see there.
    """
    array = as_file_channels(array, source)
    if source.last_axis == "none":
        return [restore_frames(source.files[0], {0: array}, scale)]
    if source.frame_order:
        frames = {frame: array[..., place] for place, frame in enumerate(source.frame_order)}
        return [restore_frames(source.files[0], frames, scale)]
    return [restore_frames(file, {0: array[..., place]}, scale) for place, file in enumerate(source.files)]


def _folder(files: Sequence[InputFile]) -> Path:
    return Path(os.path.commonpath([file.path.parent for file in files]))


def _stack_frames(path: Path, frames: DicomFrames, warnings: list[str]) -> _Stack:
    """The frames of one object; what is unusual about them is added to ``warnings``."""
    dataset, count = frames.dataset, len(frames.physical)
    in_plane = pixel_spacing(dataset) or (1.0, 1.0)
    if dataset.get("DimensionOrganizationType") in ("TILED_FULL", "TILED_SPARSE") and count > 1:
        text = f"a whole-slide image in {count} tiles, which are no images of their own"
        raise InputError(path, text, "Export the region of interest as a PNG or TIFF picture")
    planes = [plane_of(dataset, index) for index in range(count)]
    known = [plane for plane in planes if plane is not None]
    layers = [(frames.physical[index], frames.padded(index)) for index in range(count)]
    if count == 1:
        return _Stack(layers, affine_of(planes[0], in_plane, slice_thickness(dataset)), in_plane, "none")
    reason = "its frames state no positions"
    if len(known) == count and "PerFrameFunctionalGroupsSequence" in dataset:
        reason = why_no_volume(known, "frames")
        if not reason:
            order, step, notes = order_planes(known, "frames")
            warnings.extend(notes)
            affine, spacing = affine_of(planes[order[0]], in_plane, step), (*in_plane, float(np.linalg.norm(step)))
            return _Stack([layers[index] for index in order], affine, spacing, "slice", tuple(order))
    warnings.append(f"{reason}: they are taken as a sequence of pictures")
    return _Stack(layers, affine_of(planes[0], in_plane, 1.0), (*in_plane, 1.0), "frame", tuple(range(count)))


def _join(
    files: tuple[InputFile, ...], stack: _Stack, first: DicomFrames, warnings: Sequence[str], channels: int | None
) -> Reading:
    """Make one image of ordered frames, deal with padding, and measure it; ``first`` tells modality and window."""
    path = files[0].path if len(files) == 1 else _folder(files)
    flat = stack.last_axis == "none"
    values, padding = zip(*stack.layers, strict=True)
    array, mask = (values[0], padding[0]) if flat else (np.stack(values, axis=-1), np.stack(padding, axis=-1))
    array, replicated = as_channels(path, array, channels)
    array = np.ascontiguousarray(array)
    ranges = Ranges(path, array, mask)
    with refuse_malformed(path):
        limits = _offer_ranges(ranges, first)
    if mask.any():
        array[:, mask] = np.float32(ranges["measured"][0])
    sums = "".join(file.sha256 for file in files)
    source = Source(
        path=str(path),
        relative_path=path.name,
        sha256=sums if len(files) == 1 else hashlib.sha256(sums.encode()).hexdigest(),
        kind="dicom" if len(files) == 1 else "dicom-series",
        files=files,
        shape=array.shape,
        dtype=first.pixels.stored.dtype.str,
        ranges=ranges,
        limits=limits,
        spacing=tuple(float(step) for step in stack.spacing),
        last_axis=stack.last_axis,
        frame_order=stack.frame_order,
        replicated=replicated,
        padding=first.padding,
        value_rule=first.rules[0].kind,
        inverted=first.rules[0].mirror is not None,
        step=_step(first),
        warnings=tuple(warnings),
    )
    return Reading(array, stack.affine, source)


def _offer_ranges(ranges: Ranges, frames: DicomFrames) -> tuple[float, float] | None:
    """Add the ranges that a DICOM header speaks of; returns the limits of what can be stored."""
    modality, rule, pixels = str(frames.dataset.get("Modality") or ""), frames.rules[0], frames.pixels
    colour = rule.kind in ("ybr", "palette") or pixels.photometric == "RGB"
    limits = _limits(rule, pixels, colour)
    plain = colour or (limits is not None and pixels.bits_stored <= 8 and rule.kind == "identity")
    if limits is not None:
        ranges.offer_stored(limits, take=plain)
    if plain:
        return limits
    if modality == "CT":
        ranges.offer_hounsfield()
    elif modality in _RELATIVE_UNITS:
        ranges.why = f"values of {modality} have no scale of their own"
    else:
        ranges.offer_window(window(frames.dataset, rule), limits)
    return limits


def _step(frames: DicomFrames) -> float:
    """Distance of neighbouring physical values; 0 where they are not rounded, or a table gives them."""
    rule = frames.rules[0]
    rounded = frames.pixels.stored.dtype.kind in "iu" and rule.kind in ("identity", "rescale")
    return abs(rule.slope) if rounded else 0.0


def _limits(rule: ValueRule, pixels: DicomPixels, colour: bool) -> tuple[float, float] | None:
    """Smallest and largest physical value that can be stored; None for floating point."""
    if colour:
        bits = pixels.bits_stored if rule.table is None else 8 * rule.table.dtype.itemsize
        return 0.0, float((1 << bits) - 1)
    if pixels.stored.dtype.kind not in "iu":
        return None
    ends = rule.physical(np.asarray(pixels.limits, pixels.stored.dtype).reshape(2, 1, 1)).reshape(-1)
    if rule.table is not None:
        ends = np.array([rule.table.min(), rule.table.max()])
    return float(ends.min()), float(ends.max())


def _warnings(dataset: FileDataset) -> list[str]:
    """What is unusual about a file that can be read all the same."""
    warnings = []
    if "MOSAIC" in (dataset.get("ImageType") or []):
        warnings.append("a Siemens mosaic: many slices in one picture; convert it to a volume for meaningful results")
    if str(dataset.get("LossyImageCompression") or "") == "01":
        warnings.append("it was compressed with loss before, which took its toll of high frequencies")
    if dataset.get("BurnedInAnnotation") == "YES":
        warnings.append("it has burned-in annotation, which is recalibrated like the rest")
    if dataset.inferred_syntax:
        warnings.append("it states no transfer syntax; it was taken as uncompressed")
    return warnings
