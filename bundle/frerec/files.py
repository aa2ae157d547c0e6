"""Files that appear whole or not at all, also when the process is killed in the middle."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

#: Ending of an unfinished file. Anything with it is a leftover of a killed run and may be deleted.
PART_SUFFIX = ".frerec-part"


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
