"""Files that appear whole or not at all, their checksums, and their paths and names."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

#: Ending of an unfinished file. Anything with it is a leftover of a killed run and may be deleted.
PART_SUFFIX = ".frerec-part"

# PEP 383: the byte 0x80 + n as U+DC80 + n.
_UNDECODED = re.compile("[\udc80-\udcff]")
_ESCAPED = re.compile(r"\\(?:\\|x[89a-f][0-9a-f])")


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    r"""Open a file that takes its name only once it is written completely.

    The bytes go to a hidden temporary name in the same folder (a rename is atomic only within one file system),
    are flushed to the disk, and then replace ``path`` in one step. If the block raises, ``path`` is left as it was.
    Parent folders are made. The temporary name does not contain that of ``path``, so long names stay possible.

    Args:
        path: where the finished file is to be.
        mode: ``"wb"`` for bytes or ``"w"`` for UTF-8 text with ``\n`` line ends.

    Yields:
        The open file.

    Raises:
        ValueError: for a mode that does not start a new file.
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"mode={mode!r}: only 'wb' and 'w' start a new file")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".{secrets.token_hex(8)}{PART_SUFFIX}"
    encoding, newline = (None, None) if mode == "wb" else ("utf-8", "\n")
    try:
        # os.open with 0o666 obeys the user's umask; the tempfile module would leave the result private.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(descriptor, mode, encoding=encoding, newline=newline) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def remove_leftovers(folder: str | os.PathLike[str]) -> int:
    """Delete the unfinished files that killed runs left anywhere below a folder.

    Args:
        folder: the output folder; no other run may be writing into it. May be absent.

    Returns:
        The number of files deleted.
    """
    leftovers = [path for path in Path(folder).rglob(f".*{PART_SUFFIX}") if path.is_file()]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def _sync_folder(folder: Path) -> None:
    # The rename itself must survive a power cut too; file systems that cannot do this refuse it harmlessly.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


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


def name_to_text(name: str | os.PathLike[str]) -> str:
    r"""A file name or path as text that UTF-8 can hold; different names give different texts.

    Any bytes may be a name. Python holds one that is not UTF-8 as a lone surrogate (PEP 383), which no file may hold.

    Args:
        name: as Python has it.

    Returns:
        The name; a backslash in it becomes ``\\`` and a byte that is not UTF-8 ``\x`` and two hexadecimal digits.
    """
    text = os.fspath(name).replace("\\", r"\\")
    # A surrogate that is no byte of a name cannot come from a POSIX file system; it is shown as what it is.
    return _UNDECODED.sub(_escape, text).encode("utf-8", "backslashreplace").decode("utf-8")


def text_to_name(text: str) -> str:
    """Inverse of `name_to_text`."""
    return _ESCAPED.sub(lambda found: "\\" if found[0] == r"\\" else chr(0xDC00 + int(found[0][2:], 16)), text)


def printable(text: str) -> str:
    r"""Text as one line that is safe on a terminal.

    Args:
        text: any text, such as a message with the name of a file in it.

    Returns:
        The text with every character that is not printable (line ends, terminal codes, marks that turn the direction
        of writing, bytes that are not UTF-8) as an escape: ``\n``, ``\x1b``, ``\u202e``.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(found: re.Match[str] | str) -> str:
    character = found if isinstance(found, str) else found[0]
    if _UNDECODED.match(character):
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
