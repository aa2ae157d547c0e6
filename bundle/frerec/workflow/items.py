"""The items of a folder: which files there are, which of them claim to be images, which belong together."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from frerec.errors import InputError
from frerec.imaging.datalist import find_images
from frerec.imaging.reading import file_sha256

#: Endings of files that lie beside images and are none; they are named in the manifest and otherwise left alone.
SIDE_SUFFIXES = (
    ".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".rst", ".xml", ".html", ".htm", ".css", ".js", ".pdf", ".log",
    ".ini", ".cfg", ".conf", ".toml", ".yaml", ".yml", ".py", ".ipynb", ".sh", ".bat", ".xls", ".xlsx", ".doc", ".docx",
    ".bval", ".bvec", ".sha256", ".md5",
)  # fmt: skip
SIDE_NAMES = ("dicomdir", "readme", "license", "licence", "copying", "thumbs.db", "desktop.ini")

#: Groups files into items of several files (series); gets absolute paths, returns lists of those that belong together.
Grouping = Callable[[Sequence[Path]], Iterable[Sequence[Path]]]


@dataclass(frozen=True)
class FolderItem:
    """One item of a folder: a file, or the files of one series.

    Attributes:
        path: its name relative to ``dataset_dir`` with forward slashes; of a series, its folder, and where that
            holds more than one item, the first file of the series.
        files: the absolute paths of its files.
        is_side_file: whether it does not claim to be an image.
    """

    path: str
    files: tuple[str, ...]
    is_side_file: bool = False

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
    grouping: Grouping | None = None,
) -> list[FolderItem]:
    """Find the items of a folder, in order of path.

    Every file counts, whatever its ending, since DICOM files often have none. Hidden files and folders (a leading
    dot) and links that lead out of the folder are passed over.

    Args:
        dataset_dir: searched with its subfolders.
        datalist: CSV or JSON with an ``image`` column; only these images then count. Relative paths start at
            ``dataset_dir``.
        grouping: puts the files of a series together; None makes every file an item of its own.

    Returns:
        The items, sorted by path; none occurs twice.

    Raises:
        InputError: the folder does not exist, or the datalist cannot be read or names a file outside the folder.
    """
    root = Path(dataset_dir)
    if not root.is_dir():
        raise InputError(root, "no such folder", "Set dataset_dir to the folder of images")
    root = root.resolve()
    if datalist:
        files = sorted({Path(row["image"]) for row in find_images(root, datalist)})
        for path in files:
            if not path.is_relative_to(root):
                raise InputError(path, f"named in {datalist} but outside {root}", "Set dataset_dir to its folder")
    else:
        files = [path for path in _walk(root) if path.resolve().is_relative_to(root)]
    side = [path for path in files if is_side_file(path)]
    images = [path for path in files if not is_side_file(path)]
    groups = [tuple(group) for group in grouping(images)] if grouping else [(path,) for path in images]
    items = [FolderItem(_relative(path, root), (str(path),), is_side_file=True) for path in side]
    in_folder = Counter(folder for group in groups for folder in {path.parent for path in group})
    for group in groups:
        alone = len(group) > 1 and in_folder[group[0].parent] == 1 and group[0].parent != root
        items.append(FolderItem(_relative(group[0].parent if alone else group[0], root), tuple(map(str, group))))
    return sorted(items, key=lambda item: item.path)


def _walk(root: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder) / name for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


def _relative(path: Path, root: Path) -> str:
    return str(PurePosixPath(path.relative_to(root)))
