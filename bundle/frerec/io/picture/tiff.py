"""Decoding of TIFF: one picture of any real type, gray or RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
import tifffile

from frerec.errors import InputError
from frerec.io.formats import InputFile
from frerec.io.picture.decoding import Picture, open_with_pillow, split
from frerec.io.reading import check_promise

# Compressions that need a further package in tifffile, but that Pillow's libtiff reads.
_BY_PILLOW = ("LZW", "PACKBITS", "JPEG", "LZMA", "ZSTD", "WEBP")
_DESCRIPTIONS = {"is_imagej": "ImageJ", "is_ome": "OME", "is_geotiff": "GeoTIFF", "is_gdal": "GDAL"}
_PLAIN = "Convert it to gray or RGB with 8 or 16 bits"
_APART = "Save each as a file of its own, or as NIfTI"


def open_tiff(file: InputFile) -> Picture:
    """Decode a TIFF or BigTIFF in its own type.

    Raises:
        InputError: several pictures, or a kind that is not supported, see the message.
        Exception: whatever the decoders raise on damaged files.
    """
    path = file.path
    with tifffile.TiffFile(file.stream()) as tiff:
        if len(tiff.pages) == 0:
            text = "truncated or damaged: the directory of its first picture is missing"
            raise InputError(path, text, "Fetch or export it again")
        if len(tiff.pages) > 1:
            raise InputError(path, f"it holds {len(tiff.pages)} pages", _APART)
        page = tiff.pages[0]
        photometric = _check_kind(file, tiff, page)
        notes = [f"its {name} description is not kept" for key, name in _DESCRIPTIONS.items() if getattr(page, key)]
        if 330 in page.tags:
            notes.append("its further pictures (SubIFDs, such as smaller copies) are not kept")
        if photometric in ("PALETTE", "YCBCR"):
            return _noted(open_with_pillow(file), notes)
        inverted = photometric == "MINISWHITE"
        try:
            values = page.asarray()
        except ValueError:
            return _noted(_by_pillow(file, page, inverted), notes)
        if int(page.planarconfig) == 2 and page.samplesperpixel > 1:
            values = np.moveaxis(values, 0, -1)
        size = (page.imagelength, page.imagewidth, page.samplesperpixel)
        if values.shape != (size if size[2] > 1 else size[:2]):
            stated, found = (" x ".join(map(str, shape)) for shape in (size, values.shape))
            text = f"damaged: its tags state {stated} samples, but it holds {found}"
            raise InputError(path, text, "Fetch or export it again")
        values = values.astype(values.dtype.newbyteorder("="))
        picture = split(values, notes, inverted=inverted)
        return _turned(picture) if inverted else picture


def _check_kind(file: InputFile, tiff: Any, page: Any) -> str:
    path = file.path
    depth, samples = page.bitspersample, page.samplesperpixel
    photometric = getattr(page.photometric, "name", str(page.photometric))
    if page.is_reduced or page.is_mask:
        kind = "a smaller copy of another picture" if page.is_reduced else "the mask of another picture"
        raise InputError(path, f"its first picture is only {kind}", "Export the picture itself")
    if isinstance(depth, tuple) or depth < 8:
        raise InputError(path, f"it has only {depth} bits per pixel", "Convert it to 8 or 16 bits")
    pictures = int(np.prod(tiff.series[0].shape)) // max(int(np.prod(page.shape)), 1) if tiff.series else 1
    if page.imagedepth > 1 or pictures > 1:
        raise InputError(path, f"it holds {max(page.imagedepth, pictures)} pictures in one page", _APART)
    plain = samples <= 4 if photometric == "RGB" else photometric in ("MINISBLACK", "MINISWHITE") and samples <= 3
    known = page.dtype is not None and page.dtype.kind in "iuf" and depth in (8, 16, 32, 64)
    if not (plain and known) and not (depth == 8 and photometric in ("PALETTE", "YCBCR")):
        form = "" if known else f" ({getattr(page.sampleformat, 'name', page.sampleformat)})".lower()
        text = f"a TIFF with {samples} x {depth} bits{form} of kind {photometric.lower()} is not supported"
        raise InputError(path, text, _PLAIN)
    if photometric == "MINISWHITE" and (page.dtype.kind != "u" or samples != 1):
        text = "it is white where its values are lowest (MINISWHITE), but has no highest value to turn it over by"
        raise InputError(path, text, "Save it as MINISBLACK")
    counts = [int(count) for count in page.databytecounts]
    if not all(counts):
        text = f"truncated or damaged: {counts.count(0)} of its {len(counts)} strips or tiles are missing"
        raise InputError(path, text, "Fetch or export it again")
    wanted = page.imagewidth * page.imagelength * samples * depth // 8
    check_promise(path, wanted, min(sum(counts), len(file.content())), packed=int(page.compression) != 1)
    return photometric


def _by_pillow(file: InputFile, page: Any, inverted: bool) -> Picture:
    """By Pillow's libtiff, where it gives the stored values as they are."""
    extra = [int(kind) for kind in page.extrasamples]
    wide = page.bitspersample > 8
    if page.compression.name not in _BY_PILLOW or page.dtype.kind != "u" or page.bitspersample > 16:
        faithful = False
    else:
        faithful = not (wide and page.samplesperpixel > 1) and extra in ([], [2])
    if not faithful:
        text = f"its compression ({page.compression.name}) cannot be read with this kind of pixels"
        raise InputError(file.path, text, "Save it uncompressed or with deflate")
    picture = open_with_pillow(file)
    if not inverted:
        return picture
    # Pillow turns 8 bits over by itself, 16 bits not.
    turned = Picture(picture.colour, picture.alpha, inverted=True, warnings=picture.warnings)
    return _turned(turned) if wide else turned


def _turned(picture: Picture) -> Picture:
    top = np.iinfo(picture.colour.dtype).max
    return Picture(top - picture.colour, picture.alpha, inverted=True, warnings=picture.warnings)


def _noted(picture: Picture, notes: list[str]) -> Picture:
    picture.warnings.extend(notes)
    return picture
