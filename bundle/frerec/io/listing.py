"""Which files lie below a folder: the one listing that every workflow starts from."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: Why a path cannot be taken as a file, and what the user can do: two sentences without a full stop.
Problem = tuple[str, str]

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


@dataclass(frozen=True)
class Found:
    """Something below a folder.

    Args:
        path: absolute, by the names under which it was found; a link is not replaced by what it points to.
        problem: what keeps it from being read as a file; None for a file.
    """

    path: Path
    problem: Problem | None = None


def find_files(folder: Path, closed: Iterable[Path] = ()) -> list[Found]:
    """List what lies below a folder, sorted by path.

    Hidden files and folders (a leading dot) are passed over. Links to files and to folders are followed wherever they
    lead, since data stores (DVC, git-annex, nnU-Net) hand out folders of links; one that leads in a circle is not
    entered, nor is a folder that may not be read. Both are told in place of what is in them. No file is opened, so a
    pipe cannot block.

    Args:
        folder: an absolute path.
        closed: folders that are not entered even where a link leads to them, such as that of the outputs.

    Raises:
        OSError: the folder itself cannot be read.
    """
    found: list[Found] = []
    shut = {_identity(path) for path in closed if path.is_dir()}
    waiting: list[tuple[Path, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while waiting:
        place, above = waiting.pop()
        try:
            own = _identity(place)
            if own in above:
                found.append(Found(place, ("a link back to a folder that it lies in", "Remove the link")))
                continue
            if own in shut and place != folder:
                found.append(Found(place, ("the folder of the outputs", "Choose an output_dir outside of the inputs")))
                continue
            entries = list(os.scandir(place))
        except OSError as error:
            if place == folder:
                raise
            found.append(Found(place, (f"a folder that cannot be read ({error.strerror})", "Check its permissions")))
            continue
        for entry in entries:
            path = place / entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_file(follow_symlinks=False):
                found.append(Found(path))
            elif _is_folder(path):
                waiting.append((path, above | {own}))
            else:
                found.append(Found(path, problem_of(path)))
    return sorted(found, key=lambda one: one.path)


def problem_of(path: Path) -> Problem | None:
    """What keeps a path from being read as a file; None if it is one, or a link to one.

    Args:
        path: any path; it is not opened.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            return "a link to nothing", "Fetch what it points to (dvc pull, git annex get), or remove it"
        return "no such file", "Check the path"
    except OSError as error:
        return f"cannot be reached ({error.strerror})", "Check where it leads and the permissions there"
    if stat.S_ISREG(mode):
        return None
    return f"no file but {_KINDS.get(stat.S_IFMT(mode), 'something else')}", "Leave it out, or name image files"


def absolute(path: str | os.PathLike[str]) -> Path:
    """A path made absolute and free of ``..``, without replacing links by what they point to.

    Args:
        path: any path; relative ones start at the current directory.
    """
    given = Path(path)
    flat = Path(os.path.normpath(given.absolute()))
    if ".." in given.parts:
        try:  # behind a link to a folder, ".." is another folder than the one before it in the path
            if not flat.parent.samefile(given.parent):
                return given.resolve()
        except OSError:
            return flat
    return flat


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int]:
    state = folder.stat()
    return state.st_dev, state.st_ino
