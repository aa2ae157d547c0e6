"""Decoding of PNG, JPEG and BMP without losing depth, and the true reason where one cannot be decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import png
from PIL import Image, UnidentifiedImageError

from frerec.errors import InputError
from frerec.io.formats import InputFile
from frerec.io.reading import check_promise

_AGAIN = "Fetch or export it again"
_CONVERT = "Convert it to PNG or TIFF"
# Start-of-frame markers of JPEG (ISO/IEC 10918-1 Table B.1, ISO/IEC 14495-1) of kinds that libjpeg does not read.
_JPEG_KINDS = {0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "hierarchical", 0xCB: "lossless"}
_JPEG_KINDS.update({0xF7: "JPEG-LS", 0xC9: "arithmetic", 0xCA: "arithmetic"})
_JPEG_FRAMES = {0xC0, 0xC1, 0xC2, *_JPEG_KINDS}
_BMP_PACKINGS = {0: "none", 1: "RLE8", 2: "RLE4", 3: "bit fields", 4: "JPEG", 5: "PNG", 6: "bit fields with alpha"}


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Args:
        colour: (rows, columns, 1 or 3) values without alpha, brighter is higher.
        alpha: (rows, columns, 1) or None.
        palette: whether a palette was resolved.
        inverted: whether the file stores the highest value minus ``colour`` (TIFF of kind MINISWHITE).
        warnings: what was unusual, or will not be in the output.
    """

    colour: npt.NDArray[Any]
    alpha: npt.NDArray[Any] | None
    palette: bool = False
    inverted: bool = False
    warnings: list[str] = field(default_factory=list)


def open_with_pillow(file: InputFile) -> Picture:
    """Decode a picture with Pillow, or with pypng where Pillow would reduce its depth.

    Args:
        file: a PNG, JPEG or BMP, or a TIFF with 8 or 16 bits.

    Raises:
        InputError: several pictures in one, a mask, a colour mode that is not supported, or an implausible size.
        Exception: whatever Pillow raises where it cannot decode; ``why_undecodable`` puts it into words.
    """
    path, data, is_png = file.path, file.content(), file.kind == "png"
    with Image.open(file.stream()) as image:
        mode, notes = image.mode, []
        if getattr(image, "n_frames", 1) > 1:
            raise InputError(path, f"it holds {image.n_frames} pictures", "Save each as a file of its own")
        if mode == "1":
            raise InputError(path, "it has only 1 bit per pixel", "Leave it out: a mask is not an image to recalibrate")
        check_promise(path, image.width * image.height * len(image.getbands()), len(data), packed=True)
        depth, colour_type = (data[24], data[25]) if is_png and len(data) >= 26 else (8, 0)
        if is_png:
            notes = _png_notes(image, file, depth, colour_type)
        if depth == 16 and colour_type in (2, 4, 6):
            return _open_deep_png(data, notes)
        image.load()
        if mode == "P":
            return _resolve(image, notes)
        if mode in ("L", "LA", "RGB", "RGBA"):
            # The key of a gray PNG with less than 8 bits is on the scale of its own depth, its values are on that of 8.
            unit = 255 // ((1 << depth) - 1) if depth < 8 else 1
            return _keyed(split(np.asarray(image), notes), image.info.get("transparency"), unit)
        if mode.startswith("I"):
            # PNG and TIFF with 16 bits of gray: "I;16", or "I" in Pillow before 11.
            values = np.asarray(image)
            if values.min(initial=0) < 0 or values.max(initial=0) > 0xFFFF:
                raise InputError(path, "it holds values beyond 16 bits", "Save it as an uncompressed 32 bit TIFF")
            return _keyed(split(values.astype(np.uint16), notes), image.info.get("transparency"), 1)
    raise InputError(path, f"colour mode {mode} is not supported", "Convert it to gray or RGB")


def split(values: npt.NDArray[Any], notes: list[str] | None = None, **kinds: Any) -> Picture:
    """Take (rows, columns[, 1 to 4 samples]) apart into colour and alpha."""
    values = values[..., None] if values.ndim == 2 else values
    count = 3 if values.shape[-1] >= 3 else 1
    alpha = values[..., count:] if values.shape[-1] > count else None
    return Picture(values[..., :count], alpha, warnings=notes or [], **kinds)


def leading_chunks(stream: BinaryIO) -> list[tuple[bytes, bytes]]:
    """Name and data of the chunks of a PNG before its pixels, as far as they are whole."""
    stream.seek(8)
    found = []
    while len(head := stream.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
        length = int.from_bytes(head[:4], "big")
        data = stream.read(length)
        if len(data) < length:
            break
        found.append((head[4:], data))
        stream.read(4)
    return found


def why_undecodable(file: InputFile, error: Exception) -> InputError:
    """The reason and the remedy, for what a decoder raised."""
    path, kind = file.path, file.kind
    name, text = kind.upper(), str(error)
    if isinstance(error, Image.DecompressionBombError):
        return InputError(path, "larger than Pillow's safety limit of pixels", "Cut it into parts")
    if isinstance(error, MemoryError):
        return InputError(path, "not enough memory to decode it", "Cut it into parts")
    if "MAX_TEXT" in text:
        reason = "its text or colour profile unpacks to more than Pillow's safety limit"
        return InputError(path, reason, "Save it again without metadata")
    special = (
        _jpeg_reason(file.content()) if kind == "jpeg" else _bmp_reason(file.content(), text) if kind == "bmp" else None
    )
    if special:
        return InputError(path, special, _CONVERT)
    if isinstance(error, UnidentifiedImageError):
        return InputError(path, f"its {name} header cannot be understood", _AGAIN)
    return InputError(path, f"its {name} data is truncated or damaged", _AGAIN)


def _resolve(image: Image.Image, notes: list[str]) -> Picture:
    rgba = np.asarray(image.convert("RGBA"))
    alpha = rgba[..., 3:] if "transparency" in image.info else None
    colour = rgba[..., :3]
    if (colour[..., 0] == colour[..., 1]).all() and (colour[..., 0] == colour[..., 2]).all():
        colour = colour[..., :1]
    return Picture(colour.copy(), alpha, palette=True, warnings=notes)


def _keyed(picture: Picture, key: Any, unit: int) -> Picture:
    """Make the one transparent value of a PNG (its tRNS chunk) an alpha channel: it belongs to the place."""
    if key is None or picture.alpha is not None or isinstance(key, bytes):
        return picture
    colour = picture.colour
    hidden = (colour == np.asarray(key, np.int64) * unit).all(axis=-1, keepdims=True)
    alpha = np.where(hidden, 0, np.iinfo(colour.dtype).max).astype(colour.dtype)
    return Picture(colour, alpha, warnings=picture.warnings)


def _png_notes(image: Image.Image, file: InputFile, depth: int, colour_type: int) -> list[str]:
    notes = []
    if depth < 8 and colour_type == 0:
        notes.append(f"it has {depth} bits per pixel; the output has 8")
    if b"sBIT" in [name for name, _ in leading_chunks(file.stream())]:
        notes.append("it states how many of its bits are significant (sBIT), which the output does not")
    profile = image.info.get("icc_profile") or b""
    if colour_type == 3 and profile:
        notes.append("its colour profile is kept only if its palette has colours")
    return notes


def _open_deep_png(data: bytes, notes: list[str]) -> Picture:
    # Pillow reduces 16 bit colour and 16 bit gray with alpha to 8 bits.
    width, height, rows, info = png.Reader(bytes=data).read()
    values = np.stack([np.asarray(row, dtype=np.uint16) for row in rows]).reshape(height, width, info["planes"])
    return _keyed(split(values, notes), info.get("transparent"), 1)


def _jpeg_reason(content: bytes) -> str | None:
    """What kind of JPEG it is, where that kind is not read."""
    data, place = content[: 1 << 20], 2
    while place + 4 < len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in _JPEG_FRAMES:
            bits = data[place + 4]
            if marker in _JPEG_KINDS:
                return f"a JPEG of a kind that is not read ({_JPEG_KINDS[marker]}, {bits} bits)"
            return f"a JPEG with {bits} bits, of which only 8 are read" if bits != 8 else None
        place += 1 if marker == 0xFF else 2 + length
    return None


def _bmp_reason(content: bytes, text: str) -> str | None:
    """What kind of BMP it is, where Pillow calls it unsupported."""
    if not text.startswith("Unsupported BMP"):
        return None
    head = content[:34]
    if len(head) < 34:
        return None
    size = int.from_bytes(head[14:18], "little")
    bits = int.from_bytes(head[24:26] if size == 12 else head[28:30], "little")
    packing = 0 if size == 12 else int.from_bytes(head[30:34], "little")
    packed = _BMP_PACKINGS.get(packing, f"code {packing}")
    return f"a BMP of a kind that is not read (header of {size} bytes, {bits} bits, compression {packed})"
