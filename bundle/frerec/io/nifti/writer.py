"""NIfTI files with the header of their source: same type, scaling, orientation, units and byte order."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frerec.io.nifti.file import extension_texts, read_extensions
from frerec.io.provenance import SOFTWARE, canonical_json
from frerec.io.stored_pixels import StoredPixels

# NIfTI extension code of free text.
_COMMENT = 6


def derived_nifti(pixels: StoredPixels, record: Mapping[str, Any], *, compress: bool) -> bytes:
    """Encode a NIfTI file.

    The header is that of the source, bit for bit, but for the place where the voxels begin; the source's extensions
    are kept as they are and one of code 6 (comment) with the provenance is added.

    Args:
        pixels: new stored values, as before scl_slope, in the shape and byte order of the source.
        record: provenance, JSON-serialisable.
        compress: whether to compress with gzip (without a time stamp, so that equal runs give equal files).

    Returns:
        The complete file.
    """
    header, extensions = read_extensions(pixels.path)
    text = f"{SOFTWARE} {canonical_json(record)}".encode("ascii")
    # The length of an extension, with the 8 bytes that state it, is a multiple of 16 (nifti1.h).
    size = -(-(len(text) + 8) // 16) * 16
    order: Any = "little" if header.endianness == "<" else "big"
    own = size.to_bytes(4, order) + _COMMENT.to_bytes(4, order) + text.ljust(size - 8, b"\0")
    # Without checks: what is unusual in a source's header was accepted when it was read and is not ours to correct.
    start = len(header.binaryblock) + 4 + len(extensions) + len(own)
    gap = -start % 16
    header["vox_offset"] = start + gap
    voxels = pixels.array.astype(header.get_data_dtype(), copy=False).tobytes(order="F")
    data = b"".join((header.binaryblock, b"\1\0\0\0", extensions, own, b"\0" * gap, voxels))
    return gzip.compress(data, compresslevel=6, mtime=0) if compress else data


def comments(path: Path) -> list[str]:
    """Texts of the comment extensions of a NIfTI file, in order.

    Args:
        path: the file.

    Returns:
        Decoded texts; undecodable bytes are replaced.
    """
    header, extensions = read_extensions(path)
    return extension_texts(extensions, header.endianness, _COMMENT)
