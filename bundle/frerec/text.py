"""Names of files as text: any bytes may be a name, but not every name may be stored as UTF-8 or shown on a terminal.

Python holds a byte of a name that is not UTF-8 as a lone surrogate (PEP 383). No file may hold that, and a control
character in a name would drive the terminal it is printed on.
"""

from __future__ import annotations

import os
import re

# PEP 383: the byte 0x80 + n as U+DC80 + n.
_UNDECODED = re.compile("[\udc80-\udcff]")
_ESCAPED = re.compile(r"\\(?:\\|x[89a-f][0-9a-f])")


def name_to_text(name: str | os.PathLike[str]) -> str:
    r"""A file name or path as text that UTF-8 can hold; different names give different texts.

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
