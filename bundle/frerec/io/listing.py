"""Which files lie below a folder, which of them are images, and which are one image together: decided here for all.

Every workflow starts from this listing. What a file is, its content tells, never its name; a name only says that a
file does not claim to be an image (notes, tables), or that a damaged one does.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from frerec.errors import InputError
from frerec.files import absolute
from frerec.io.dicom.files import NotAnImageError, read_dataset
from frerec.io.dicom.grouping import FileGroup, Slice, group_files, slice_of
from frerec.io.formats import InputFile, Problem, detect_format, opened, problem_of
from frerec.io.quiet import quiet_libraries

#: Endings of files that lie beside images and are none; they are named in the manifest and otherwise left alone.
SIDE_SUFFIXES = (
    ".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".rst", ".xml", ".html", ".htm", ".css", ".js", ".pdf", ".log",
    ".ini", ".cfg", ".conf", ".toml", ".yaml", ".yml", ".py", ".ipynb", ".sh", ".bat", ".xls", ".xlsx", ".doc", ".docx",
    ".bval", ".bvec", ".sha256", ".md5",
)  # fmt: skip
SIDE_NAMES = ("dicomdir", "readme", "license", "licence", "copying", "thumbs.db", "desktop.ini")
#: Endings of files that claim to be images, whatever is in them.
IMAGE_SUFFIXES = (
    ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".nii", ".nii.gz", ".dcm", ".ima", ".dicom",
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """What opening a file once told.

    Args:
        kind: its format as from ``formats.detect_format``; empty for what is no image by its first bytes.
        error: why it is no image, or cannot be read.
        slice: its place in a volume, for a DICOM file that states one.
        file: the file with its content, where the whole of it was read.
    """

    kind: str
    error: InputError | None = None
    slice: Slice | None = None
    file: InputFile | None = None


@dataclass(frozen=True)
class FolderItem:
    """One item of a folder: a file, or the files of one series.

    Args:
        path: its name relative to the folder with forward slashes; of a series, its folder, and where that
            holds other images too or not the whole series, the first file of the series.
        files: the absolute paths of its files, by the names under which they were found; links are not replaced.
        is_side_file: whether it does not claim to be an image.
        names: of a series, its files relative to the folder in the order of ``files``.
        problem: what keeps it from being read as a file (a link to nothing, a pipe) and what to do about it.
        warnings: sentences about how its files came together.
    """

    path: str
    files: tuple[Path, ...]
    is_side_file: bool = False
    names: tuple[str, ...] = ()
    problem: Problem | None = None
    warnings: tuple[str, ...] = ()


# What was looked at before a folder was listed (by the preflight) is not opened again for the listing.
_looked: dict[Path, tuple[tuple[int, ...], Look]] = {}


def look(path: Path, whole: bool = False) -> Look:
    """Open a file and tell what it is; not a second time before its folder is listed, unless it has changed.

    Args:
        path: absolute.
        whole: read all of an image.
    """
    try:
        state = path.stat()
        key = (state.st_ino, state.st_size, state.st_mtime_ns)
        before, known = _looked.get(path, (key, None))
        if known is None or before != key or (whole and known.kind and known.file is None):
            known = _look(path, whole)
            _looked[path] = key, known
        return known
    except InputError as error:
        return Look("", error)
    except OSError as error:
        return Look("", InputError(path, f"cannot be read ({error.strerror})", "Check the path and its permissions"))


def _look(path: Path, whole: bool) -> Look:
    file = None
    with opened(path) as stream, quiet_libraries():
        kind = detect_format(path, stream)
        stream.seek(0)
        if whole:
            data = stream.read()
            file = InputFile(path, hashlib.sha256(data).hexdigest(), kind, data)
            stream.seek(0)
        try:
            one = slice_of(path, read_dataset(path, stream, with_pixels=False)) if kind == "dicom" else None
        except InputError as error:
            return Look(kind, error, None, file)
    return Look(kind, None, one, file)


def forget(contents_only: bool = False) -> None:
    """Let go of what was looked at, or only of the contents of the files that were read whole."""
    for path, (key, seen) in list(_looked.items()):
        _looked[path] = key, replace(seen, file=None)
    if not contents_only:
        _looked.clear()


def find_items(
    folder: str | os.PathLike[str],
    files: Iterable[Path] | None = None,
    group_series: bool = False,
    closed: Iterable[str | os.PathLike[str]] = (),
) -> list[FolderItem]:
    """Find the items of a folder, in order of path.

    Every file counts, whatever its ending, since DICOM files often have none. Hidden files and folders (a leading
    dot) are passed over. Links to files and to folders are followed wherever they lead, since data stores (DVC,
    git-annex, nnU-Net) hand out folders of links; one that leads in a circle is not entered, nor is a folder that may
    not be read. Both are items with a problem, as is whatever else cannot be read as a file.

    Args:
        folder: searched with its subfolders.
        files: only these files of the folder count, such as those of a datalist.
        group_series: put the slices of a DICOM series together (`frerec.io.dicom.grouping.group_files`);
            False makes every file an item of its own.
        closed: folders that are not entered even where a link leads to them, such as that of the outputs.

    Returns:
        The items, sorted by path; none occurs twice.

    Raises:
        InputError: the folder is missing or cannot be read.
    """
    root = absolute(folder)
    if not root.is_dir():
        raise InputError(folder, "no such folder", "Check the path")
    try:
        if files is None:
            found = sorted(walk(root, [absolute(path) for path in closed]), key=lambda one: one[0])
        else:
            found = [(path, problem_of(path)) for path in sorted(set(files))]
    except OSError as error:
        raise InputError(root, f"cannot be read ({error.strerror})", "Check its permissions") from error
    items, images = [], []
    for path, problem in found:
        side = problem is None and is_side_file(path)
        if problem is None and not side:
            images.append(path)
        else:
            items.append(FolderItem(_relative(path, root), (path,), side, problem=problem))
    if group_series:
        groups = group_files({path: look(path).slice for path in images})
    else:
        groups = [FileGroup((path,)) for path in images]
    in_folder = Counter(place for group in groups for place in {path.parent for path in group.files})
    for group in groups:
        first, names = group.files[0], tuple(_relative(path, root) for path in group.files)
        alone = len(names) > 1 and first.parent != root and in_folder[first.parent] == 1
        whole = alone and {path.parent for path in group.files} == {first.parent}
        name = _relative(first.parent, root) if whole else names[0]
        items.append(FolderItem(name, group.files, False, names if len(names) > 1 else (), None, group.warnings))
    return sorted(items, key=lambda item: item.path)


def images_of(items: Iterable[FolderItem]) -> list[FolderItem]:
    """Those items that are images by their content, and those that claim to be by their names: damaged ones are told.

    A sound DICOM object without a picture (a report, a segmentation) is none.

    Args:
        items: of `find_items`.
    """
    found = []
    for item in items:
        if item.is_side_file or item.problem is not None:
            continue
        seen = look(item.files[0])
        claims = bool(seen.kind) or item.files[0].name.lower().endswith(IMAGE_SUFFIXES)
        if claims and not isinstance(seen.error, NotAnImageError):
            found.append(item)
    forget()
    return found


def one_volume(folder: Path) -> tuple[list[Path], list[str]]:
    """The files of the one DICOM volume directly in a folder, and what to say of those that were passed over.

    Raises:
        InputError: it holds no DICOM image, several volumes, or a damaged file that claims to be of them.
    """
    slices: dict[Path, Slice | None] = {}
    others = objects = 0
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not problem_of(path)):
        seen = look(path)
        if isinstance(seen.error, NotAnImageError):
            objects += 1
        elif seen.error is not None and (seen.kind or path.name.lower().endswith((".dcm", ".ima", ".dicom"))):
            raise seen.error  # a damaged slice must not become a silent gap; a note may lie beside the slices
        elif seen.kind == "dicom":
            slices[path] = seen.slice
        else:
            others += 1
    forget()
    if not slices:
        raise InputError(folder, "no DICOM image in this folder", "Give a folder that holds the files of one series")
    groups = group_files(slices)
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


def is_side_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name says that it is no image: notes, tables, a DICOMDIR."""
    name = Path(path).name.lower()
    return name in SIDE_NAMES or name.endswith(SIDE_SUFFIXES)


def walk(folder: Path, closed: Sequence[Path] = ()) -> Iterator[tuple[Path, Problem | None]]:
    """What lies below a folder, one by one, with what keeps it from being read. No file is opened here.

    Args:
        folder: absolute.
        closed: as in `find_items`.

    Yields:
        Paths and problems, those of a folder in order of name before those of its subfolders.

    Raises:
        OSError: the folder itself cannot be read.
    """
    shut = {_identity(path) for path in closed if path.is_dir()}
    waiting: list[tuple[Path, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while waiting:
        place, above = waiting.pop()
        try:
            own = _identity(place)
            if own in above:
                yield place, ("a link back to a folder that it lies in", "Remove the link")
                continue
            if own in shut and place != folder:
                yield place, ("the folder of the outputs", "Choose an output_dir outside of the inputs")
                continue
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            if place == folder:
                raise
            yield place, (f"a folder that cannot be read ({error.strerror})", "Check its permissions")
            continue
        folders = []
        for entry in entries:
            path = place / entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_file(follow_symlinks=False):
                yield path, None
            elif _is_folder(path):
                folders.append((path, above | {own}))
            else:
                yield path, problem_of(path)
        waiting += reversed(folders)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int]:
    state = folder.stat()
    return state.st_dev, state.st_ino


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
