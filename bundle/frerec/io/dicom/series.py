"""Single-frame DICOM files that together are one volume."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frerec.errors import InputError
from frerec.io.dicom.files import NotAnImageError, read_dataset, refuse_malformed
from frerec.io.dicom.geometry import affine_of, order_planes, why_no_volume
from frerec.io.dicom.grouping import Slice, group_files, slice_of
from frerec.io.dicom.reader import DicomFrames, assemble, common_details, file_warnings, open_frames, read_dicom
from frerec.io.formats import detect_format
from frerec.io.listing import problem_of
from frerec.io.reading import Reading, file_sha256

_DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")


def read_series(place: Path | Sequence[Path], channels: int | None = None) -> Reading:
    """Read slices as one volume, (C, rows, columns, slices).

    Slices are ordered by their position along the common normal, never by name or number. A sheared stack (gantry
    tilt) keeps its shear in the affine. A stack with uneven spacing or a missing slice is taken as it is, with a
    warning; the affine then has the mean spacing.

    Args:
        place: the files of one volume, of which exactly these are taken; or a folder, in which the files that are not
            DICOM are passed over. A folder or sequence with one file is read as that file.
        channels: wanted number of channels, or None.

    Raises:
        InputError: a folder without images or with several (as :func:`frerec.io.dicom.grouping.group_files` takes
            them apart), files that are no slices of one volume, or a file that cannot be used.
    """
    files, notes = (_files_of(place), []) if not isinstance(place, Path) else _volume_in(place)
    if len(files) == 1:
        return read_dicom(files[0], channels)
    folder = place if isinstance(place, Path) else Path(os.path.commonpath([path.parent for path in files]))
    slices: list[Slice] = []
    stacked: list[npt.NDArray[np.float32]] = []
    padding: list[npt.NDArray[np.bool_]] = []
    digests: list[str] = []
    told: list[str] = []
    for path in files:
        try:
            frames = open_frames(path)
            slices.append(_checked(path, frames, slices, stacked))
            with refuse_malformed(path):
                told += file_warnings(frames.dataset)
        except InputError as error:
            # A volume is one item to its user, who has to learn which of its files is meant.
            reason = f"{os.path.relpath(path, folder)}: {error.reason}"
            raise InputError(folder, reason, error.remedy) from error
        stacked.append(frames.physical[0])
        padding.append(frames.padded(0))
        digests.append(file_sha256(path))
    planes = [one.plane for one in slices]
    reason = why_no_volume(planes, "slices")
    if reason:
        raise InputError(folder, reason, "Name the files of one volume, or let inference.json group the folder")
    order, step, warnings = order_planes(planes, "slices")
    spacing = slices[order[0]].spacing
    first = open_frames(files[order[0]])
    with refuse_malformed(files[order[0]]):
        details = common_details(first, [*notes, *dict.fromkeys(told), *warnings])
    entries: list[dict[str, Any]] = [{"path": str(files[index]), "sha256": digests[index]} for index in order]
    details["files"] = entries
    digest = hashlib.sha256("".join(entry["sha256"] for entry in entries).encode()).hexdigest()
    return assemble(
        folder,
        "dicom-series",
        digest,
        [stacked[index] for index in order],
        [padding[index] for index in order],
        first,
        details,
        affine_of(planes[order[0]], spacing, step),
        [*spacing, float(np.linalg.norm(step))],
        "patient",
        "slice",
        channels,
    )


def _checked(
    path: Path, frames: DicomFrames, before: Sequence[Slice], stacked: Sequence[npt.NDArray[np.float32]]
) -> Slice:
    """The slice, if it is one and of one kind with those before it."""
    one = slice_of(path, frames.dataset)
    if one is None:
        raise InputError(path, "it states no place in a volume of slices", "Load it as a file of its own")
    difference = one.difference(before[0]) if before else ""
    if not difference and stacked and frames.physical[0].shape != stacked[0].shape:
        difference = "the shape of its pixels"
    if difference:
        raise InputError(path, f"differs from the other slices in {difference}", "Load it as a file of its own")
    return one


def _files_of(paths: Sequence[Path]) -> list[Path]:
    if not paths:
        raise InputError("", "no file is named", "Name the files of one volume")
    return sorted(paths)


def _volume_in(folder: Path) -> tuple[list[Path], list[str]]:
    """The files of the one volume directly in a folder, and a sentence for each kind of file that was passed over."""
    files: list[Path] = []
    others = objects = 0
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or problem_of(path) is not None:
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
            read_dataset(path, with_pixels=False)
            files.append(path)
        except NotAnImageError:
            objects += 1
    if not files:
        raise InputError(folder, "no DICOM image in this folder", "Give a folder that holds the files of one series")
    groups = group_files(files)
    if len(groups) > 1:
        counts = ", ".join(str(len(group.files)) for group in groups[:10])
        text = f"it holds {len(groups)} images (of {counts}{', ...' if len(groups) > 10 else ''} files)"
        raise InputError(folder, text, "Name the files of one of them, or let inference.json group the folder")
    notes = [*groups[0].warnings]
    if others:
        notes.append(f"{others} file(s) in the folder are not DICOM and were passed over")
    if objects:
        notes.append(f"{objects} DICOM object(s) in the folder are no images and were passed over")
    return list(groups[0].files), notes
