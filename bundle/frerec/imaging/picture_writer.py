"""PNG and TIFF files at the depth of their source, with the provenance inside."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import png
import tifffile
from PIL import Image, PngImagePlugin

from frerec import __version__
from frerec.imaging.provenance import SOFTWARE, canonical_json
from frerec.imaging.stored_pixels import StoredPixels

#: Keyword of the PNG text chunk that holds the provenance.
TEXT_KEYWORD = "FreRec"

# Of zlib's nine levels the one at which recalibrated pictures are smallest; 6, the usual one, takes twice the time.
_COMPRESSION = 4

_ORIENTATION = 0x0112  # the one EXIF tag without which a picture would be shown otherwise than its source


def derived_picture(pixels: StoredPixels, record: Mapping[str, Any], *, kind: str) -> bytes:
    """Encode a picture.

    Resolution, colour profile and orientation mark of the source are kept; its other annotations are not.

    Args:
        pixels: stored values, (rows, columns) or (rows, columns, 2 to 4) with alpha last.
        record: provenance, JSON-serialisable.
        kind: ``"png"`` (8 and 16 bit) or ``"tiff"`` (any numeric type).

    Returns:
        The complete file.
    """
    if kind == "tiff":
        return _tiff_bytes(pixels, record)
    return png_bytes(pixels.array, record, like=pixels.path)


def png_bytes(array: np.ndarray, record: Mapping[str, Any], *, like: Path | None = None) -> bytes:
    """Encode an array as PNG with the provenance in a text chunk.

    Args:
        array: uint8 or uint16, (rows, columns) or (rows, columns, 1 to 4).
        record: provenance, JSON-serialisable.
        like: picture whose resolution, colour profile and orientation are taken over.

    Returns:
        The complete file.
    """
    array = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    text = {"Software": f"{SOFTWARE} {__version__}", TEXT_KEYWORD: canonical_json(record)}
    if array.dtype == np.uint16 and array.ndim == 3:
        return _deep_png_bytes(array, text)
    buffer, info = BytesIO(), PngImagePlugin.PngInfo()
    for keyword, value in text.items():
        info.add_text(keyword, value)
    Image.fromarray(np.ascontiguousarray(array)).save(
        buffer, "PNG", pnginfo=info, compress_level=_COMPRESSION, **_taken_over(like)
    )
    return buffer.getvalue()


def text_records(path: Path) -> list[str]:
    """Provenance texts in a picture: PNG text chunk or TIFF description.

    Args:
        path: a picture.

    Returns:
        Texts found, possibly none.
    """
    with Image.open(path) as image:
        texts = [image.info.get(TEXT_KEYWORD)]
        if image.format == "TIFF":
            texts.append(image.tag_v2.get(270))
    return [text for text in texts if isinstance(text, str)]


def _taken_over(like: Path | None) -> dict[str, Any]:
    if like is None:
        return {}
    with Image.open(like) as source:
        kept = {key: source.info[key] for key in ("dpi", "icc_profile") if source.info.get(key)}
        orientation = source.getexif().get(_ORIENTATION)
    if orientation:
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        kept["exif"] = exif
    return kept


def _deep_png_bytes(array: np.ndarray, text: Mapping[str, str]) -> bytes:
    # Pillow has no 16 bit colour; pypng has, but writes no text chunks of its own accord.
    height, width, planes = array.shape
    plain, buffer = BytesIO(), BytesIO()
    writer = png.Writer(
        width, height, greyscale=planes == 2, alpha=planes in (2, 4), bitdepth=16, compression=_COMPRESSION
    )
    writer.write(plain, array.reshape(height, -1))
    head, *rest = png.Reader(bytes=plain.getvalue()).chunks()
    chunks = [(b"tEXt", key.encode("latin-1") + b"\0" + value.encode("latin-1")) for key, value in text.items()]
    png.write_chunks(buffer, [head, *chunks, *rest])
    return buffer.getvalue()


def _tiff_bytes(pixels: StoredPixels, record: Mapping[str, Any]) -> bytes:
    array, options = pixels.array, {}
    with tifffile.TiffFile(pixels.path) as source:
        tags = source.pages[0].tags
        resolution = [tags[name].value for name in ("XResolution", "YResolution") if name in tags]
        if len(resolution) == 2 and all(value[1] for value in resolution):
            options = {"resolution": tuple(resolution), "resolutionunit": tags.valueof("ResolutionUnit", default=2)}
        orientation = tags.valueof("Orientation", default=1)
        profile = tags.valueof(34675)
    samples = array.shape[-1] if array.ndim == 3 else 1
    buffer = BytesIO()
    tifffile.imwrite(
        buffer,
        array,
        photometric="rgb" if samples >= 3 else "minisblack",
        planarconfig="contig" if samples > 1 else None,
        extrasamples=["unassalpha"] if samples in (2, 4) else None,
        compression="adobe_deflate",
        description=f"{SOFTWARE} {canonical_json(record)}",
        software=f"{SOFTWARE} {__version__}",
        metadata=None,
        iccprofile=profile,
        extratags=[(274, 3, 1, int(orientation), True)] if orientation != 1 else None,
        **options,
    )
    return buffer.getvalue()
