"""Which DICOM files of a folder together are one volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from frerec.errors import InputError
from frerec.imaging.dicom_files import read_dataset
from frerec.imaging.dicom_geometry import plane_of
from frerec.imaging.formats import detect_format
from frerec.imaging.quiet import quiet_libraries


def group_series(paths: Sequence[Path]) -> list[list[Path]]:
    """Put the slices of each DICOM series together; every other file stays by itself.

    Files are one volume if they lie in one folder, share a Series Instance UID, hold a single frame each, and state at
    least two different positions in the patient. So a folder of chest X-rays, or several encodings of one slice, stay
    files of their own. A file that cannot be read stays by itself too, and is reported when it is loaded.

    Args:
        paths: files, in any order.

    Returns:
        The files in order of path, those of a series together at the place of its first file.
    """
    folders: dict[Path, list[Path]] = {}
    for path in sorted(paths):
        folders.setdefault(path.parent, []).append(path)
    groups: list[list[Path]] = []
    with quiet_libraries():
        for files in folders.values():
            groups += _group_folder(files) if len(files) > 1 else [files]
    return groups


def _group_folder(files: list[Path]) -> list[list[Path]]:
    series: dict[str, list[Path]] = {}
    positions: dict[str, set[tuple[float, ...]]] = {}
    order: dict[str, str] = {}
    for path in files:
        uid, position = _place(path)
        key = f"series {uid}" if uid else f"file {path}"
        order.setdefault(key, key)
        series.setdefault(key, []).append(path)
        if position:
            positions.setdefault(key, set()).add(position)
    groups: list[list[Path]] = []
    for key in order:
        groups += [series[key]] if len(positions.get(key, ())) > 1 else [[path] for path in series[key]]
    return groups


def _place(path: Path) -> tuple[str, tuple[float, ...] | None]:
    """Series and position of a slice; ("", None) for whatever is no slice of a volume."""
    try:
        if detect_format(path) != "dicom":
            return "", None
        header = read_dataset(path, with_pixels=False)
    except InputError:
        return "", None
    plane = plane_of(header)
    if plane is None or int(header.get("NumberOfFrames") or 1) > 1:
        return "", None
    return str(header.get("SeriesInstanceUID") or ""), tuple(round(float(x), 3) for x in plane.position)
