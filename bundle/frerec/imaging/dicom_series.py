"""Folders of single-frame DICOM files that together are one volume."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from frerec.errors import InputError
from frerec.imaging.dicom_files import NotAnImageError, read_dataset, refuse_malformed
from frerec.imaging.dicom_geometry import Plane, affine_of, order_planes, pixel_spacing, plane_of
from frerec.imaging.dicom_reader import assemble, common_details, file_warnings, open_frames, read_dicom
from frerec.imaging.formats import detect_format
from frerec.imaging.reading import Reading, file_sha256

_DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")
_SHARED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "Modality", "SOPClassUID")


def find_series(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Group the DICOM files directly in a folder by Series Instance UID.

    Args:
        folder: searched without its subfolders; hidden files are passed over.

    Returns:
        The files of each series, by name, and a sentence for every kind of file that was passed over.

    Raises:
        InputError: the folder holds no DICOM image, or one of its DICOM files is damaged.
    """
    series: dict[str, list[Path]] = {}
    others = objects = 0
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            kind = detect_format(path)
        except InputError:
            # A damaged slice must not become a silent gap; a note or a thumbnail may lie beside the slices.
            if path.suffix.lower() in _DICOM_SUFFIXES:
                raise
            kind = "other"
        if kind != "dicom":
            others += 1
            continue
        try:
            header = read_dataset(path, with_pixels=False)
        except NotAnImageError:
            objects += 1
            continue
        with refuse_malformed(path):
            series.setdefault(str(header.get("SeriesInstanceUID") or ""), []).append(path)
    if not series:
        raise InputError(folder, "no DICOM image in this folder", "Give a folder that holds the files of one series")
    notes = []
    if others:
        notes.append(f"{others} file(s) in the folder are not DICOM and were passed over")
    if objects:
        notes.append(f"{objects} DICOM object(s) in the folder are no images and were passed over")
    return series, notes


def read_series(folder: Path, channels: int | None = None) -> Reading:
    """Read a folder of slices as one volume, (C, rows, columns, slices).

    Slices are ordered by their position along the common normal, never by name or number. A sheared stack (gantry
    tilt) keeps its shear in the affine.

    Args:
        folder: holds the files of one series; a single multi-frame file is read as such.
        channels: wanted number of channels, or None.

    Raises:
        InputError: several series, slices of different size or orientation, repeated positions (4-D), gaps, or a file
            that cannot be used.
    """
    series, notes = find_series(folder)
    if len(series) > 1:
        counts = ", ".join(str(len(files)) for files in series.values())
        text = f"it mixes {len(series)} series (of {counts} files)"
        raise InputError(folder, text, "Give each series a folder of its own")
    files = next(iter(series.values()))
    if len(files) == 1:
        return read_dicom(files[0], channels)
    headers = [read_dataset(path, with_pixels=False) for path in files]
    with refuse_malformed(folder):
        planes, spacing = _check_alike(folder, files, headers)
    order, step, warnings = order_planes(folder, planes, "slices")
    affine = affine_of(planes[order[0]], spacing, step)
    stacked: list[npt.NDArray[np.float32]] = []
    padding: list[npt.NDArray[np.bool_]] = []
    entries: list[dict[str, Any]] = []
    first = open_frames(files[order[0]])
    for index in order:
        frames = open_frames(files[index])
        if frames.physical[0].shape != first.physical[0].shape or frames.pixels.keyword != first.pixels.keyword:
            raise InputError(files[index], "its pixels differ in kind from the other slices'", "Leave it out")
        stacked.append(frames.physical[0])
        padding.append(frames.padded(0))
        entries.append({"path": str(files[index]), "sha256": file_sha256(files[index])})
    digest = hashlib.sha256("".join(entry["sha256"] for entry in entries).encode()).hexdigest()
    with refuse_malformed(files[order[0]]):
        details = common_details(first, [*notes, *file_warnings(first.dataset), *warnings])
    details["files"] = entries
    size = [*spacing, float(np.linalg.norm(step))]
    return assemble(
        folder, "dicom-series", digest, stacked, padding, first, details, affine, size, "patient", "slice", channels
    )


def _check_alike(
    folder: Path, files: Sequence[Path], headers: Sequence[Dataset]
) -> tuple[list[Plane], tuple[float, float]]:
    planes = []
    spacing = pixel_spacing(headers[0])
    if spacing is None:
        text = f"{files[0].name} states no pixel spacing"
        raise InputError(folder, text, "Give each picture as a file of its own, not as a series")
    for path, header in zip(files, headers, strict=True):
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise InputError(path, "a multi-frame object among other files", "Give it a folder of its own")
        for keyword in _SHARED:
            if header.get(keyword) != headers[0].get(keyword):
                text = f"the folder mixes images of different {keyword} ({path.name} against {files[0].name})"
                raise InputError(folder, text, "Give each kind of image a folder of its own")
        plane, own = plane_of(header), pixel_spacing(header)
        if plane is None:
            text = f"{path.name} states no usable Image Position and Orientation (Patient)"
            raise InputError(folder, text, "Give each picture as a file of its own, not as a series")
        if own is None or not np.allclose(own, spacing, rtol=1e-4):
            text = f"{path.name} has another pixel spacing than {files[0].name}"
            raise InputError(folder, text, "Give each kind of image a folder of its own")
        planes.append(plane)
    return planes, spacing
