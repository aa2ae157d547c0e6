"""PNG and TIFF files at the depth of their source, with the provenance inside."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import png
import tifffile
from PIL import Image

from frerec import __version__
from frerec.io.formats import InputFile
from frerec.io.picture.decoding import leading_chunks
from frerec.io.provenance import SOFTWARE, canonical_json
from frerec.io.restoring import MINISWHITE, EncodedPixels

#: Keyword of the PNG text chunk that holds the provenance.
TEXT_KEYWORD = "FreRec"

# Of zlib's nine levels the one at which recalibrated pictures are smallest; 6, the usual one, takes twice the time.
_COMPRESSION = 4

# PNG chunks (PNG specification, section 11.3) without which the same values are shown otherwise.
_SHOWN_BY = (b"cICP", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"pHYs", b"eXIf")
_ORIENTATION = 0x0112  # the one EXIF tag without which a picture would be shown otherwise than its source


def derived_picture(pixels: EncodedPixels, record: Mapping[str, Any], *, kind: str) -> bytes:
    """Encode a picture.

    Resolution, colour space and orientation mark of the source are kept; its other annotations are not.

    Args:
        pixels: stored values, (rows, columns) or (rows, columns, 2 to 4) with alpha last.
        record: provenance, JSON-serialisable.
        kind: ``"png"`` (8 and 16 bit) or ``"tiff"`` (any numeric type).
    """
    if kind == "tiff":
        return _tiff_bytes(pixels, record)
    return png_bytes(pixels.array, record, like=pixels.original)


def png_bytes(array: np.ndarray, record: Mapping[str, Any], *, like: InputFile | None = None) -> bytes:
    """Encode an array as PNG with the provenance in a text chunk.

    Args:
        array: uint8 or uint16, (rows, columns) or (rows, columns, 1 to 4).
        record: provenance, JSON-serialisable.
        like: picture whose resolution, colour space and orientation are taken over.
    """
    array = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    text = {"Software": f"{SOFTWARE} {__version__}", TEXT_KEYWORD: canonical_json(record)}
    plain = BytesIO()
    if array.dtype == np.uint16 and array.ndim == 3:
        # Pillow has no 16 bit colour; pypng has.
        height, width, planes = array.shape
        kind = {"greyscale": planes == 2, "alpha": planes in (2, 4)}
        writer = png.Writer(width, height, bitdepth=16, compression=_COMPRESSION, **kind)
        writer.write(plain, array.reshape(height, -1))
    else:
        Image.fromarray(np.ascontiguousarray(array)).save(plain, "PNG", compress_level=_COMPRESSION)
    head, *rest = png.Reader(bytes=plain.getvalue()).chunks()
    kept = [] if like is None else _kept_chunks(like, colour=array.ndim == 3 and array.shape[-1] >= 3)
    texts = [(b"tEXt", key.encode("latin-1") + b"\0" + value.encode("latin-1")) for key, value in text.items()]
    buffer = BytesIO()
    png.write_chunks(buffer, [head, *kept, *texts, *rest])
    return buffer.getvalue()


def text_records(file: InputFile) -> list[str]:
    """Provenance texts in a picture: PNG text chunk or TIFF description."""
    if file.kind == "tiff":
        # Not by Pillow, which does not open the types it does not know, such as float64.
        with tifffile.TiffFile(file.stream()) as tiff:
            return [tiff.pages[0].description] if len(tiff.pages) and tiff.pages[0].description else []
    with Image.open(file.stream()) as image:
        text = image.info.get(TEXT_KEYWORD)
    return [text] if isinstance(text, str) else []


def _kept_chunks(like: InputFile, *, colour: bool) -> list[tuple[bytes, bytes]]:
    """Chunks that say how large and in which colours the source is shown, and which way up."""
    with Image.open(like.stream()) as source:
        own = source.format == "PNG"
        kept: dict[str, Any] = {} if own else {key: source.info.get(key) for key in ("dpi", "icc_profile")}
        try:
            orientation = source.getexif().get(_ORIENTATION)
        except Exception:  # damaged EXIF data raises anything from SyntaxError to struct.error
            orientation = None
    if orientation in range(1, 9):
        kept["exif"] = Image.Exif()
        kept["exif"][_ORIENTATION] = orientation
    buffer = BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG", **{key: value for key, value in kept.items() if value})
    found = _shown_by(buffer)
    if own:
        # The whole EXIF block of the source may name a person: of it only the orientation, made above.
        shown = [chunk for chunk in _shown_by(like.stream()) if chunk[0] != b"eXIf"]
        found = [*shown, *(chunk for chunk in found if chunk[0] == b"eXIf")]
    # A palette's profile is one of colours, which a gray picture must not have.
    other = b"GRAY" if colour else b"RGB "
    return [(name, data) for name, data in found if name != b"iCCP" or _profile(data)[16:20] != other]


def _shown_by(stream: BinaryIO) -> list[tuple[bytes, bytes]]:
    found: dict[bytes, bytes] = {}
    for name, data in leading_chunks(stream):
        if name in _SHOWN_BY:
            found.setdefault(name, data)
    return list(found.items())


def _profile(chunk: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(chunk[chunk.index(b"\0") + 2 :], 128)
    except (ValueError, zlib.error):
        return b""


def _tiff_bytes(pixels: EncodedPixels, record: Mapping[str, Any]) -> bytes:
    array = pixels.array
    options: dict[str, Any] = {}
    samples = array.shape[-1] if array.ndim == 3 else 1
    with tifffile.TiffFile(pixels.original.stream()) as source:
        page = source.pages[0]
        resolution = [page.tags.valueof(name) for name in ("XResolution", "YResolution")]
        if all(isinstance(value, tuple) and len(value) == 2 and value[1] for value in resolution):
            unit = page.tags.valueof("ResolutionUnit", default=2)
            options = {"resolution": tuple(resolution), "resolutionunit": unit if unit in (1, 2, 3) else 1}
        orientation, profile = page.tags.valueof("Orientation", default=1), page.tags.valueof(34675)
        gray = "miniswhite" if pixels.photometric == MINISWHITE else "minisblack"
        as_it_was = samples == page.samplesperpixel and page.photometric.name in ("RGB", "MINISBLACK")
        photometric = "rgb" if samples >= 3 and not (as_it_was and page.photometric.name == "MINISBLACK") else gray
        extra = [int(kind) for kind in page.extrasamples] if as_it_was else []
    count = samples - (3 if photometric == "rgb" else 1)
    if len(extra) != count or not set(extra) <= {0, 1, 2}:
        # Alpha that came from elsewhere (a palette) or was not described.
        extra = [2] * count if samples in (2, 4) else [0] * count
    buffer = BytesIO()
    tifffile.imwrite(
        buffer,
        array,
        photometric=photometric,
        planarconfig="contig" if samples > 1 else None,
        extrasamples=extra or None,
        compression="adobe_deflate",
        description=f"{SOFTWARE} {canonical_json(record)}",
        software=f"{SOFTWARE} {__version__}",
        metadata=None,
        iccprofile=profile if isinstance(profile, bytes) and profile else None,
        extratags=[(274, 3, 1, orientation, True)] if orientation in range(2, 9) else None,
        **options,
    )
    return buffer.getvalue()
