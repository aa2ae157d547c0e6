"""Single DICOM files: one picture, a volume of frames (enhanced multi-frame), or a cine of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from frerec.errors import InputError
from frerec.io.dicom.files import read_dataset, refuse_malformed
from frerec.io.dicom.geometry import (
    affine_of,
    order_planes,
    pixel_spacing,
    plane_of,
    slice_thickness,
    why_no_volume,
)
from frerec.io.dicom.pixels import DicomPixels, decode_pixels, padding_range
from frerec.io.dicom.values import ValueRule, value_rules, window
from frerec.io.ranges import Ranges, measure, offer_hounsfield, offer_stored, offer_window
from frerec.io.reading import Reading, as_channels, file_sha256, to_float32

_RELATIVE_UNITS = ("MR", "NM", "PT")


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

    dataset: Dataset
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


def open_frames(path: Path) -> DicomFrames:
    """Read and decode a DICOM file.

    Args:
        path: the file.

    Raises:
        InputError: whatever makes it unusable.
    """
    dataset = read_dataset(path)
    with refuse_malformed(path, dataset):
        pixels = decode_pixels(path, dataset)
        rules = value_rules(path, dataset, pixels)
        padding = padding_range(dataset, pixels)
    physical = [to_float32(path, rule.physical(frame)) for rule, frame in zip(rules, pixels.stored, strict=True)]
    return DicomFrames(dataset, pixels, rules, padding, physical)


def read_dicom(path: Path, channels: int | None = None) -> Reading:
    """Read a DICOM file.

    Values are physical: after Modality LUT or rescale, RGB for every kind of colour, and brighter-is-higher for
    MONOCHROME1 (reflected about the middle of the storable range). Padding pixels get the image's lowest value, so
    that their border is no edge, and keep their stored values when written.

    The frames of an enhanced object that lie parallel at distinct positions form a volume, ordered along their normal.
    Other frames (cine loops, screen captures, several time points or orientations in one object) come in the file's
    order, and ``details["last_axis"]`` is ``frame``.

    Args:
        path: the file.
        channels: wanted number of channels, or None; see ``reading.as_channels``.

    Raises:
        InputError: whatever makes the file unusable.
    """
    frames = open_frames(path)
    digest = file_sha256(path)
    count = len(frames.physical)
    with refuse_malformed(path, frames.dataset):
        warnings = file_warnings(frames.dataset)
        order, last_axis, affine, spacing, geometry = _geometry(path, frames, warnings)
        details = common_details(frames, warnings)
    details["files"] = [{"path": str(path), "sha256": digest}]
    details["frame_order"] = order if count > 1 else []
    stacked = [frames.physical[index] for index in order]
    padding = [frames.padded(index) for index in order]
    return assemble(
        path, "dicom", digest, stacked, padding, frames, details, affine, spacing, geometry, last_axis, channels
    )


def _geometry(
    path: Path, frames: DicomFrames, warnings: list[str]
) -> tuple[list[int], str, npt.NDArray[np.float64], list[float], str]:
    dataset, count = frames.dataset, len(frames.physical)
    in_plane = pixel_spacing(dataset)
    if in_plane is None:
        in_plane = (1.0, 1.0)
    if dataset.get("DimensionOrganizationType") in ("TILED_FULL", "TILED_SPARSE") and count > 1:
        text = f"a whole-slide image in {count} tiles, which are no images of their own"
        raise InputError(path, text, "Export the region of interest as a PNG or TIFF picture")
    planes = [plane_of(dataset, index) for index in range(count)]
    known = [plane for plane in planes if plane is not None]
    geometry = "patient" if planes[0] is not None else "pixel"
    if count == 1:
        affine = affine_of(planes[0], in_plane, slice_thickness(dataset))
        return [0], "none", affine, list(in_plane), geometry
    if len(known) == count and "PerFrameFunctionalGroupsSequence" in dataset:
        reason = why_no_volume(known, "frames")
        if not reason:
            order, step, notes = order_planes(known, "frames")
            warnings.extend(notes)
            affine = affine_of(planes[order[0]], in_plane, step)
            return order, "slice", affine, [*in_plane, float(np.linalg.norm(step))], geometry
    else:
        reason = "its frames state no positions"
    warnings.append(f"{reason}: they are taken as a sequence of pictures")
    affine = affine_of(planes[0], in_plane, 1.0)
    return list(range(count)), "frame", affine, [*in_plane, 1.0], geometry


def assemble(
    path: Path,
    kind: str,
    digest: str,
    stacked: list[npt.NDArray[np.float32]],
    padding: list[npt.NDArray[np.bool_]],
    first: DicomFrames,
    details: dict[str, Any],
    affine: npt.NDArray[np.float64],
    spacing: Sequence[float],
    geometry: str,
    last_axis: str,
    channels: int | None,
) -> Reading:
    """Join ordered frames to one image, deal with padding, and measure it.

    Args:
        path: file or folder.
        kind: ``dicom`` or ``dicom-series``.
        digest: its checksum.
        stacked: frames in order, each (channels, rows, columns).
        padding: which of their pixels are padding, each (rows, columns).
        first: object that tells modality and window.
        details: completed in place.
        affine: of the joined array.
        spacing: of the joined array.
        geometry: as in ``source``.
        last_axis: as in ``source``.
        channels: wanted number of channels, or None.
    """
    flat = last_axis == "none"
    array = stacked[0] if flat else np.stack(stacked, axis=-1)
    mask = padding[0] if flat else np.stack(padding, axis=-1)
    array = np.ascontiguousarray(as_channels(path, array, channels, details))
    ranges = measure(path, array, mask)
    with refuse_malformed(path):
        _offer_ranges(ranges, first)
    if mask.any():
        array[:, mask] = np.float32(ranges["measured"][0])
    details.update(
        range=ranges,
        shape=list(array.shape),
        last_axis=last_axis,
        spacing=[float(value) for value in spacing],
        geometry=geometry,
    )
    return Reading(array, affine, digest, kind, details)


def _offer_ranges(ranges: Ranges, frames: DicomFrames) -> None:
    """Add the ranges that a DICOM header speaks of, in place; see `ranges`."""
    modality, rule, pixels = str(frames.dataset.get("Modality") or ""), frames.rules[0], frames.pixels
    colour = rule.kind in ("ybr", "palette") or pixels.photometric == "RGB"
    limits = _limits(rule, pixels, colour)
    plain = colour or (limits is not None and pixels.bits_stored <= 8 and rule.kind == "identity")
    if limits is not None:
        offer_stored(ranges, limits, take=plain)
    if plain:
        return
    if modality == "CT":
        offer_hounsfield(ranges)
    elif modality in _RELATIVE_UNITS:
        ranges["why"] = f"values of {modality} have no scale of their own"
    else:
        offer_window(ranges, window(frames.dataset, rule), limits)


def _limits(rule: ValueRule, pixels: DicomPixels, colour: bool) -> list[float] | None:
    """Smallest and largest physical value that can be stored; None for floating point."""
    if colour:
        bits = pixels.bits_stored if rule.table is None else 8 * rule.table.dtype.itemsize
        return [0.0, float((1 << bits) - 1)]
    if pixels.stored.dtype.kind not in "iu":
        return None
    ends = rule.physical(np.asarray(pixels.limits, pixels.stored.dtype).reshape(2, 1, 1)).reshape(-1)
    if rule.table is not None:
        ends = np.array([rule.table.min(), rule.table.max()])
    return sorted(float(end) for end in ends)


def file_warnings(dataset: Dataset) -> list[str]:
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


def common_details(frames: DicomFrames, warnings: list[str]) -> dict[str, Any]:
    """The part of ``Source.details`` that single files and series share."""
    dataset, rule = frames.dataset, frames.rules[0]
    return {
        "warnings": warnings,
        "modality": str(dataset.get("Modality") or ""),
        "sop_class_uid": str(dataset.get("SOPClassUID") or ""),
        "transfer_syntax_uid": str(dataset.file_meta.TransferSyntaxUID),
        "photometric": str(dataset.PhotometricInterpretation),
        "inverted": rule.mirror is not None,
        "value_rule": rule.kind,
        "padding": None if frames.padding is None else list(frames.padding),
        "dtype": frames.pixels.stored.dtype.str,
        "frame_order": [],
    }
