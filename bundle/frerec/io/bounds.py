"""What a header promises against what its file can hold, before memory is taken for it."""

from __future__ import annotations

from pathlib import Path

from frerec.errors import InputError

# Deflate reaches 1032:1 and LZW about 2700:1; with pixels of a few bits that become bytes, some four times that.
_MOST_BY_ANY_PACKING = 10_000
# Beyond this size a ratio that only blank or made files have is refused.
_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO = 1 << 30, 200


def check_promise(path: Path, wanted: int, held: int, *, packed: bool) -> None:
    """Refuse an image whose header asks for more bytes than its file can hold.

    Args:
        path: named in errors.
        wanted: bytes of the decoded image as the header states it.
        held: bytes of the file from which they are to come.
        packed: whether they are compressed there.

    Raises:
        InputError: the header is damaged, the file truncated, or a decompression bomb.
    """
    if wanted > held * (_MOST_BY_ANY_PACKING if packed else 1):
        text = f"truncated or damaged: its header promises {wanted} bytes of pixels, but the file holds {held}"
        raise InputError(path, text, "Fetch or export it again")
    if packed and wanted > max(_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO * held):
        text = f"it would unpack from {held} to {wanted} bytes, as only blank images and decompression bombs do"
        raise InputError(path, text, "Save it uncompressed if it is genuine")
