"""What a series is: which DICOM files, wherever they lie, together are one volume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from frerec.io.dicom.files import refuse_malformed
from frerec.io.dicom.geometry import Plane, is_parallel, pixel_spacing, places, plane_of

# Slices of one volume agree in these.
_SHARED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "Modality", "SOPClassUID")
_COPIES = "it holds copies of other files: their SOP Instance UIDs occur more than once in the folder"
# What tells the volumes of a 4-D series apart (PS3.3 C.7.6.1, C.7.6.2, C.8.3.1), the most telling first.
_VOLUME_KEYS = (
    "TemporalPositionIdentifier",
    "EchoNumbers",
    "EchoTime",
    "DiffusionBValue",
    "AcquisitionNumber",
    "ImageType",
)


@dataclass(frozen=True)
class FileGroup:
    """Files that are one image together.

    Args:
        files: sorted by path; one file, or the slices of one volume.
        warnings: sentences about how the group came about.
    """

    files: tuple[Path, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slice:
    """What the header of a single-frame file says of its place in a volume.

    Args:
        path: the file.
        series: Series Instance UID, with study and patient, since makers of test data use one for all; None if it
            states none.
        instance: SOP Instance UID; empty if it states none.
        number: Instance Number; None if it states none.
        plane: its place in the patient.
        spacing: millimetres between rows and between columns.
        kind: values of the attributes in which the slices of a volume agree.
        keys: values of the attributes that tell the volumes of a series apart.
    """

    path: Path
    series: tuple[str, str, str] | None
    instance: str
    number: int | None
    plane: Plane
    spacing: tuple[float, float]
    kind: tuple[str, ...]
    keys: tuple[str, ...]

    def difference(self, other: Slice) -> str:
        """In what it cannot be of one volume with another slice; empty if it can."""
        for keyword, own, theirs in zip(_SHARED, self.kind, other.kind, strict=True):
            if own != theirs:
                return keyword
        if not np.allclose(self.spacing, other.spacing, rtol=1e-4):
            return "pixel spacing"
        return "" if is_parallel(self.plane, other.plane) else "orientation"


def slice_of(path: Path, header: Dataset) -> Slice | None:
    """What a header says of a slice; None for whatever is no slice of a volume.

    That is a multi-frame object, and one that states no position, orientation or pixel spacing.

    Args:
        path: the file.
        header: its data set.

    Raises:
        InputError: an attribute is malformed.
    """
    with refuse_malformed(path):
        plane, spacing = plane_of(header), pixel_spacing(header)
        if plane is None or spacing is None or int(header.get("NumberOfFrames") or 1) > 1:
            return None
        number, uid = header.get("InstanceNumber"), str(header.get("SeriesInstanceUID") or "")
        return Slice(
            path=path,
            series=(uid, str(header.get("StudyInstanceUID")), str(header.get("PatientID"))) if uid else None,
            instance=str(header.get("SOPInstanceUID") or ""),
            number=None if number in (None, "") else int(number),
            plane=plane,
            spacing=spacing,
            kind=tuple(str(header.get(keyword)) for keyword in _SHARED),
            keys=tuple(str(header.get(keyword)) for keyword in _VOLUME_KEYS),
        )


def group_files(files: Mapping[Path, Slice | None]) -> list[FileGroup]:
    """Put the slices of each volume together; every other file stays by itself.

    Files are one volume if they share patient, study and Series Instance UID, wherever they lie, hold one frame each,
    are parallel, of one size, spacing and kind, and lie at different positions. Within a series that means:

    - slices of another size or orientation (a localizer) are volumes of their own;
    - where files are copies (same SOP Instance UID at the same place), each set of them is a volume of its own;
    - positions that occur several times (time points, echoes) are parted by an attribute that tells them apart, else
      in the order of Instance Number, and where neither does, every file stays by itself;
    - a series with slices at one position only is no volume.

    Args:
        files: what the header of each says of its place in a volume; None for what is no slice, or cannot be read.

    Returns:
        The groups in the order of their first files; each path is in exactly one.
    """
    groups: list[FileGroup] = []
    series: dict[tuple[str, str, str], list[Slice]] = {}
    for path, one in sorted(files.items()):
        if one is None or one.series is None:
            groups.append(FileGroup((path,)))
        else:
            series.setdefault(one.series, []).append(one)
    for members in series.values():
        for alike in _alike(members):
            for rank, same in enumerate(_copies(alike)):
                note = (_COPIES,) if rank else ()
                groups += [FileGroup(group.files, (*note, *group.warnings)) for group in _volumes(same)]
    return sorted(groups, key=lambda group: group.files[0])


def _alike(slices: Sequence[Slice]) -> list[list[Slice]]:
    found: list[list[Slice]] = []
    for one in slices:
        known = next((members for members in found if not one.difference(members[0])), None)
        if known is None:
            found.append([one])
        else:
            known.append(one)
    return found


def _copies(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Part slices into sets in which no object occurs twice, the files of a folder together where that is possible."""
    at = places([one.plane for one in slices])
    objects = [(one.instance or str(one.path), place) for one, place in zip(slices, at, strict=True)]
    blocks: dict[tuple[int, Path], list[int]] = {}
    seen: Counter[Hashable] = Counter()
    for index, one in enumerate(slices):
        where = (objects[index], one.path.parent)
        blocks.setdefault((seen[where], one.path.parent), []).append(index)
        seen[where] += 1
    sets: list[dict[tuple[str, int], Slice]] = []
    for key in sorted(blocks):
        block = {objects[index]: slices[index] for index in blocks[key]}
        home = next((known for known in sets if known.keys().isdisjoint(block)), None)
        if home is None:
            sets.append(block)
        else:
            home |= block
    return [list(known.values()) for known in sets]


def _volumes(slices: Sequence[Slice]) -> list[FileGroup]:
    at = places([one.plane for one in slices])
    counts = Counter(at)
    if len(counts) == len(slices):
        return [_group(slices)]
    if len(counts) == 1:
        return [FileGroup((one.path,)) for one in slices]
    told = f"its series is 4-D ({len(slices)} slices at {len(counts)} positions)"
    for index, keyword in enumerate(_VOLUME_KEYS):
        parts = _by_key(slices, lambda one: one.keys[index])  # noqa: B023
        if len(parts) > 1 and all(_is_volume(part) for part in parts):
            return [_group(part, f"{told}; volumes were told apart by {keyword}") for part in parts]
    numbers = {(place, one.number) for place, one in zip(at, slices, strict=True) if one.number is not None}
    if len(numbers) == len(slices) and len(set(counts.values())) == 1:
        order = sorted(range(len(slices)), key=lambda i: slices[i].number or 0)
        parts = _by_rank([slices[i] for i in order], [at[i] for i in order])
        return [_group(part, f"{told}; volumes were told apart by the order of Instance Number") for part in parts]
    told = f"{told} and nothing tells its volumes apart: each slice was taken by itself"
    return [_group([one], told) for one in slices]


def _is_volume(slices: Sequence[Slice]) -> bool:
    return len(slices) > 1 and len(set(places([one.plane for one in slices]))) == len(slices)


def _group(slices: Sequence[Slice], *warnings: str) -> FileGroup:
    return FileGroup(tuple(sorted(one.path for one in slices)), warnings)


def _by_key(slices: Sequence[Slice], key: Callable[[Slice], Hashable]) -> list[list[Slice]]:
    parts: dict[Hashable, list[Slice]] = {}
    for one in slices:
        parts.setdefault(key(one), []).append(one)
    return list(parts.values())


def _by_rank(slices: Sequence[Slice], keys: Sequence[Hashable]) -> list[list[Slice]]:
    """Part slices by how often their key occurred before."""
    seen: Counter[Hashable] = Counter()
    parts: list[list[Slice]] = []
    for one, key in zip(slices, keys, strict=True):
        if seen[key] == len(parts):
            parts.append([])
        parts[seen[key]].append(one)
        seen[key] += 1
    return parts
