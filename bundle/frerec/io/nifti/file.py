"""The parts of a NIfTI file, read and written: header, extensions and voxels, each checked before it is believed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from frerec.errors import InputError
from frerec.io.formats import InputFile
from frerec.io.provenance import SOFTWARE, canonical_json
from frerec.io.reading import check_promise, check_size
from frerec.io.restoring import EncodedPixels

_AGAIN = "Fetch or export it again"
_CONVERT = "Save magnitude or one channel as real numbers"
# Codes of the field datatype (nifti1.h) that are not read; all others but these and _TYPES are unknown.
_TYPES = {2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280}
_OTHER_TYPES = {
    1: "voxels of 1 bit",
    32: "complex voxels",
    128: "colour or structured voxels (RGB24)",
    1536: "floating point voxels of 128 bits",
    1792: "complex voxels",
    2048: "complex voxels",
    2304: "colour or structured voxels (RGBA32)",
}
# Intent codes (nifti1.h): label, NeuroNames label; CIFTI-2 (its specification, section 5).
_LABELS, _CIFTI = (1002, 1004), range(3000, 3100)
# NIfTI extension code of free text.
_COMMENT = 6
# What may follow the last voxel: some writers fill up to a block, none by this much.
_LONGEST_TAIL = 1 << 30


@dataclass(frozen=True)
class NiftiFile:
    """What stands in a NIfTI file.

    Args:
        header: nibabel's, unchecked and uncorrected.
        complete: whether its well-formed extensions are all that stands between header and voxels.
        stored: voxels before scl_slope, in the shape and byte order of the file.
        slope: scl_slope, 1 where the file states none.
        intercept: scl_inter.
        labels: whether the header says that values are labels.
    """

    header: Nifti1Header
    complete: bool
    stored: npt.NDArray[Any]
    slope: float
    intercept: float
    labels: bool


def read_nifti_file(file: InputFile) -> NiftiFile:
    """Take a NIfTI file apart.

    Args:
        file: a single-file NIfTI-1 or -2, packed with gzip or not, whatever its name.

    Raises:
        InputError: truncated, damaged, or a kind that is not read; see the message.
    """
    path, content = file.path, file.content()
    try:
        stream, packed = _unpacked(file)
        header = _read_header(path, stream)
        shape = _shape(path, header)
        slope, intercept = _scaling(path, header)
        first = np.asarray(header["vox_offset"], np.float64)
        start = int(first) if np.isfinite(first) else -1
        if start < _size(header) + 4:
            text = f"its header says that the voxels begin at byte {first:g}, which is inside the header"
            raise InputError(path, text, "Correct vox_offset, or export it again")
        dtype, count = header.get_data_dtype(), int(np.prod(shape, dtype=object))
        check_promise(path, start + count * dtype.itemsize, len(content), packed=packed)
        between = stream.read(start - _size(header))
        data = stream.read(count * dtype.itemsize) if packed else memoryview(content)[start:]
        if len(data) < count * dtype.itemsize:
            raise InputError(path, "truncated: it ends before its last voxel", _AGAIN)
        if packed:
            _check_tail(path, stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(path, "its gzip compression is truncated or damaged", _AGAIN) from error
    stored = np.frombuffer(data, dtype, count).reshape(shape, order="F")
    extensions = b"".join(raw for _, raw in _walk(between, header.endianness))
    labels = int(header["intent_code"]) in _LABELS
    complete = not between[4 + len(extensions) :].strip(b"\0")
    return NiftiFile(header, complete, stored, slope, intercept, labels)


def derived_nifti(pixels: EncodedPixels, record: Mapping[str, Any], *, compress: bool) -> bytes:
    """Encode a NIfTI file.

    The header is that of the source, bit for bit, but for the place where the voxels begin; the source's extensions
    are kept as they are and one of code 6 (comment) with the provenance is added.

    Args:
        pixels: new values, as before scl_slope, in the shape and byte order of the source.
        record: provenance, JSON-serialisable.
        compress: whether to compress with gzip (without a time stamp, so that equal runs give equal files).
    """
    header, extensions = _read_extensions(pixels.original)
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


def comments(file: InputFile) -> list[str]:
    """Texts of the comment extensions of a NIfTI file, in order; undecodable bytes are replaced."""
    header, extensions = _read_extensions(file)
    found = [raw[8:] for code, raw in _walk(b"\1\0\0\0" + extensions, header.endianness) if code == _COMMENT]
    return [content.decode("utf-8", "replace").rstrip("\0") for content in found]


def _read_extensions(file: InputFile) -> tuple[Nifti1Header, bytes]:
    """Header and well-formed extensions of a NIfTI file, without its voxels."""
    stream, _ = _unpacked(file)
    header = _read_header(file.path, stream)
    between = stream.read(max(int(header["vox_offset"]) - _size(header), 0))
    return header, b"".join(raw for _, raw in _walk(between, header.endianness))


def _unpacked(file: InputFile) -> tuple[BinaryIO, bool]:
    # By content: the name's ending may be missing or wrong.
    stream = file.stream()
    packed = stream.getbuffer()[:2] == b"\x1f\x8b"
    return (gzip.GzipFile(fileobj=stream), True) if packed else (stream, False)  # type: ignore[return-value]


def _size(header: Nifti1Header) -> int:
    return int(header.template_dtype.itemsize)


def _read_header(path: Path, stream: BinaryIO) -> Nifti1Header:
    head = stream.read(Nifti1Header.template_dtype.itemsize)
    kind = Nifti1Header
    if head[4:7] == b"n+2":
        kind = Nifti2Header
        head += stream.read(Nifti2Header.template_dtype.itemsize - len(head))
    if len(head) < kind.template_dtype.itemsize:
        raise InputError(path, "truncated: it ends inside its header", _AGAIN)
    # Unchecked: nibabel would correct some fields, log others and raise for what can be read all the same.
    header = kind(head, check=False)
    if int(header["intent_code"]) in _CIFTI:
        text = "a CIFTI file: values along the brain's surface and its voxels, listed by index, not an image volume"
        raise InputError(path, text, "Leave it out, or separate its volume with wb_command -cifti-separate")
    code = int(header["datatype"])
    if code not in _TYPES:
        kind_of_voxels = _OTHER_TYPES.get(code, f"voxels of unknown type (datatype {code})")
        raise InputError(path, f"{kind_of_voxels} are not supported", _CONVERT)
    return header


def _shape(path: Path, header: Nifti1Header) -> tuple[int, ...]:
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise InputError(path, "damaged: its header states a number of dimensions that is none from 1 to 7", _AGAIN)
    shape = tuple(int(size) for size in header["dim"][1 : count + 1])
    if min(shape) < 0:
        raise InputError(path, f"damaged: its header states the size {' x '.join(map(str, shape))}", _AGAIN)
    check_size(path, shape)
    return shape


def _scaling(path: Path, header: Nifti1Header) -> tuple[float, float]:
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        text = f"its scl_inter {float(header['scl_inter']):g} is unusable"
        raise InputError(path, text, "Correct the header") from error
    return (1.0, 0.0) if slope is None else (float(slope), float(intercept or 0.0))


def _check_tail(path: Path, stream: BinaryIO) -> None:
    # To the end, because the checksum stands there.
    rest = 0
    while piece := stream.read(1 << 20):
        rest += len(piece)
        if rest > _LONGEST_TAIL:
            raise InputError(path, "it goes on for more than 1 GiB after its last voxel", _AGAIN)


def _walk(between: bytes, endianness: str) -> list[tuple[int, bytes]]:
    """The extensions in what stands between header and voxels: (code, all its bytes)."""
    found: list[tuple[int, bytes]] = []
    if between[:1] in (b"", b"\0"):
        return found
    place, order = 4, "little" if endianness == "<" else "big"
    while place + 8 <= len(between):
        size = int.from_bytes(between[place : place + 4], order, signed=True)  # type: ignore[arg-type]
        code = int.from_bytes(between[place + 4 : place + 8], order, signed=True)  # type: ignore[arg-type]
        if size < 16 or place + size > len(between):
            break
        found.append((code, between[place : place + size]))
        place += size
    return found
