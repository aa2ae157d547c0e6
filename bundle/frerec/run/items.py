"""The items of a folder: which files there are, which of them claim to be images, which belong together."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from frerec.errors import InputError
from frerec.io.datalist import read_datalist
from frerec.io.dicom.grouping import FileGroup, group_files
from frerec.io.listing import Found, Problem, absolute, find_files, problem_of
from frerec.io.quiet import quiet_libraries
from frerec.io.reading import file_sha256

#: Endings of files that lie beside images and are none; they are named in the manifest and otherwise left alone.
SIDE_SUFFIXES = (
    ".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".rst", ".xml", ".html", ".htm", ".css", ".js", ".pdf", ".log",
    ".ini", ".cfg", ".conf", ".toml", ".yaml", ".yml", ".py", ".ipynb", ".sh", ".bat", ".xls", ".xlsx", ".doc", ".docx",
    ".bval", ".bvec", ".sha256", ".md5",
)  # fmt: skip
SIDE_NAMES = ("dicomdir", "readme", "license", "licence", "copying", "thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class FolderItem:
    """One item of a folder: a file, or the files of one series.

    Attributes:
        path: its name relative to ``dataset_dir`` with forward slashes; of a series, its folder, and where that
            holds other images too or not the whole series, the first file of the series.
        files: the absolute paths of its files.
        is_side_file: whether it does not claim to be an image.
        names: of a series, its files relative to ``dataset_dir`` in the order of ``files``.
        problem: what keeps it from being read as a file (a link to nothing, a pipe) and what to do about it.
        warnings: sentences about how its files came together.
    """

    path: str
    files: tuple[str, ...]
    is_side_file: bool = False
    names: tuple[str, ...] = ()
    problem: Problem | None = None
    warnings: tuple[str, ...] = ()

    @property
    def is_series(self) -> bool:
        """Whether it is made of several files."""
        return len(self.files) > 1

    def sha256(self) -> str:
        """Checksum of the file; of a series, SHA-256 of the checksums of its files, in the order of ``files``.

        Raises:
            OSError: a file cannot be read.
        """
        sums = [file_sha256(Path(path)) for path in self.files]
        return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode("ascii")).hexdigest()


def is_side_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name says that it is no image: notes, tables, a DICOMDIR."""
    name = Path(path).name.lower()
    return name in SIDE_NAMES or name.endswith(SIDE_SUFFIXES)


def find_items(
    dataset_dir: str | os.PathLike[str],
    datalist: str | os.PathLike[str] | None = None,
    group_series: bool = False,
    closed: Iterable[str | os.PathLike[str]] = (),
) -> list[FolderItem]:
    """Find the items of a folder, in order of path.

    Every file counts, whatever its ending, since DICOM files often have none. Hidden files and folders (a leading
    dot) are passed over. Links are followed, and what cannot be read as a file is an item with a problem; see
    :func:`frerec.io.listing.find_files`.

    Args:
        dataset_dir: searched with its subfolders.
        datalist: CSV or JSON with an ``image`` column; only these images then count. Relative paths start at
            ``dataset_dir``.
        group_series: put the slices of a DICOM series together (:func:`frerec.io.dicom.grouping.group_files`);
            False makes every file an item of its own.
        closed: folders that are not entered, such as that of the outputs.

    Returns:
        The items, sorted by path; none occurs twice.

    Raises:
        InputError: the folder cannot be read, or the datalist cannot be read or names a file outside the folder.
    """
    root = absolute(dataset_dir)
    if not root.is_dir():
        raise InputError(dataset_dir, "no such folder", "Set dataset_dir to the folder of images")
    try:
        found = _listed(root, datalist) if datalist else find_files(root, [absolute(path) for path in closed])
    except OSError as error:
        raise InputError(root, f"cannot be read ({error.strerror})", "Check its permissions") from error
    items, images = [], []
    for one in found:
        side = one.problem is None and is_side_file(one.path)
        if one.problem is None and not side:
            images.append(one.path)
        else:
            items.append(FolderItem(_relative(one.path, root), (str(one.path),), side, problem=one.problem))
    with quiet_libraries():
        groups = group_files(images) if group_series else [FileGroup((path,)) for path in images]
    in_folder = Counter(folder for group in groups for folder in {path.parent for path in group.files})
    for group in groups:
        first, names = group.files[0], tuple(_relative(path, root) for path in group.files)
        alone = len(names) > 1 and first.parent != root and in_folder[first.parent] == 1
        whole = alone and {path.parent for path in group.files} == {first.parent}
        items.append(
            FolderItem(
                _relative(first.parent, root) if whole else names[0],
                tuple(map(str, group.files)),
                names=names if len(names) > 1 else (),
                warnings=group.warnings,
            )
        )
    return sorted(items, key=lambda item: item.path)


def _listed(root: Path, datalist: str | os.PathLike[str]) -> list[Found]:
    paths = set()
    for row in read_datalist(datalist, root):
        path = Path(row["image"])
        # a folder may have several names; what counts is the one by which dataset_dir calls it
        bases = ((path, root), (path, root.resolve()), (path.resolve(), root.resolve()))
        inside = next((name.relative_to(base) for name, base in bases if name.is_relative_to(base)), None)
        if inside is None:
            raise InputError(path, f"named in {datalist} but outside {root}", "Set dataset_dir to its folder")
        paths.add(root / inside)
    return [Found(path, problem_of(path)) for path in sorted(paths)]


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
