"""NIfTI files with the header of their source: same type, scaling, orientation, units and byte order."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from nibabel.nifti1 import Nifti1Extension, Nifti1Header
from nibabel.nifti2 import Nifti2Header

from frerec.imaging.provenance import SOFTWARE, canonical_json
from frerec.imaging.stored_pixels import StoredPixels

# NIfTI extension code of free text.
_COMMENT = 6


def derived_nifti(pixels: StoredPixels, record: Mapping[str, Any], *, compress: bool) -> bytes:
    """Encode a NIfTI file.

    The header is that of the source, bit for bit, but for the place where the voxels begin; the source's extensions
    are kept and one of code 6 (comment) with the provenance is added.

    Args:
        pixels: new stored values, as before scl_slope, in the shape and byte order of the source.
        record: provenance, JSON-serialisable.
        compress: whether to compress with gzip (without a time stamp, so that equal runs give equal files).

    Returns:
        The complete file.
    """
    header = _header(pixels.path)
    text = f"{SOFTWARE} {canonical_json(record)}".encode("ascii")
    header.extensions.append(Nifti1Extension(_COMMENT, text))
    header["vox_offset"] = 0
    buffer = BytesIO()
    # Without checks: what is unusual in a source's header was accepted when it was read and is not ours to correct.
    header.write_to(buffer)
    buffer.write(b"\0" * (int(header["vox_offset"]) - buffer.tell()))
    buffer.write(pixels.array.astype(header.get_data_dtype(), copy=False).tobytes(order="F"))
    data = buffer.getvalue()
    return gzip.compress(data, compresslevel=6, mtime=0) if compress else data


def comments(path: Path) -> list[str]:
    """Texts of the comment extensions of a NIfTI file, in order.

    Args:
        path: the file.

    Returns:
        Decoded texts; undecodable bytes are replaced.
    """
    found = [extension for extension in _header(path).extensions if extension.get_code() == _COMMENT]
    return [_text(extension) for extension in found]


def _text(extension: Any) -> str:
    content = extension.get_content()
    # Extensions are filled up with zeros to a multiple of 16 bytes.
    return (content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)).rstrip("\0")


def _header(path: Path) -> Nifti1Header:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    opener: Any = gzip.open if packed else open
    with opener(path, "rb") as stream:
        head = stream.read(8)
        stream.seek(0)
        kind = Nifti2Header if head[4:7] in (b"n+2", b"ni2") else Nifti1Header
        return kind.from_fileobj(stream, check=False)
