"""Pictures: PNG, TIFF, JPEG and BMP with 8 or 16 bits (TIFF also 32 and floating point), gray or RGB, with alpha."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import png
import tifffile
from PIL import Image, UnidentifiedImageError

from frerec.errors import InputError
from frerec.imaging.likeness import Likeness
from frerec.imaging.ranges import measure, offer_stored
from frerec.imaging.reading import Reading, as_channels, as_file_channels, check_size, file_sha256, to_float32
from frerec.imaging.stored_pixels import StoredPixels, changed_voxels, count_clipped, encode_integers

_DAMAGED = "Fetch or export it again"


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Args:
        colour: (rows, columns, 1 or 3) stored values without alpha.
        alpha: (rows, columns, 1) or None.
        mode: Pillow's mode of the file, or the tifffile photometric name.
        palette: whether a palette was resolved.
        warnings: what was unusual.
    """

    colour: npt.NDArray[Any]
    alpha: npt.NDArray[Any] | None
    mode: str
    palette: bool = False
    warnings: list[str] = field(default_factory=list)


def read_picture(path: Path, kind: str, channels: int | None = None) -> Reading:
    """Read a picture; its physical values are its stored values.

    Palettes are resolved to gray (where all their colours are) or RGB; alpha is kept aside; an EXIF orientation is not
    applied. The affine is the identity: a picture states no position in a patient.

    Args:
        path: the file.
        kind: ``png``, ``tiff``, ``jpeg`` or ``bmp``.
        channels: wanted number of channels, or None; see ``reading.as_channels``.

    Raises:
        InputError: truncated or unsupported, see the message.
    """
    picture = open_picture(path, kind)
    stored = np.moveaxis(picture.colour, -1, 0)
    check_size(path, stored.shape)
    details: dict[str, Any] = {"warnings": picture.warnings}
    array = as_channels(path, to_float32(path, stored), channels, details)
    ranges = measure(path, array)
    if stored.dtype.kind == "u" and stored.dtype.itemsize <= 2:
        offer_stored(ranges, (0, np.iinfo(stored.dtype).max))
        # What uses 12 of 16 bits keeps to them.
        details["limits"] = ranges.get("bits", ranges["stored"])
    details.update(
        range=ranges,
        shape=list(array.shape),
        dtype=stored.dtype.str,
        last_axis="none",
        spacing=[1.0, 1.0],
        geometry="pixel",
        mode=picture.mode,
        alpha=picture.alpha is not None,
        palette=picture.palette,
    )
    return Reading(array, np.eye(4), file_sha256(path), kind, details)


def restore_picture(
    path: Path, kind: str, array: npt.NDArray[np.float32], details: Mapping[str, Any], scale: float, width: float
) -> StoredPixels:
    """Stored values of a processed picture, unchanged pixels as they were.

    Args:
        path: the original.
        kind: its format.
        array: (C, H, W) physical values.
        details: of its ``Source``.
        scale: as in ``stored_pixels.changed_voxels``.
        width: of the range of values in use, see ``likeness.Likeness.of``.
    """
    picture = open_picture(path, kind)
    original = picture.colour
    new = np.moveaxis(as_file_channels(array, details), 0, -1)
    changed = changed_voxels(new, original.astype(np.float32), scale)
    clipped = 0
    if original.dtype.kind in "iu":
        wanted, storable = new.astype(np.float64), np.iinfo(original.dtype)
        low, high = (int(end) for end in details.get("limits", (storable.min, storable.max)))
        clipped = count_clipped(wanted, changed, low, high)
        encoded = encode_integers(wanted, low, high, original.dtype)
    else:
        encoded = new.astype(original.dtype)
    stored = np.where(changed, encoded, original)
    likeness = Likeness.of(original, stored, new, width)
    if picture.alpha is not None:
        stored = np.concatenate([stored, picture.alpha], axis=-1)
    array = stored[..., 0] if stored.shape[-1] == 1 else stored
    return StoredPixels(path, array, bool(changed.any()), clipped=clipped, likeness=likeness)


def open_picture(path: Path, kind: str) -> Picture:
    """Decode a picture without losing depth.

    Args:
        path: the file.
        kind: ``png``, ``tiff``, ``jpeg`` or ``bmp``.

    Raises:
        InputError: truncated, several pages, or a mode that is not supported.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if kind == "tiff":
                return _open_tiff(path)
            if kind == "png" and _is_deep_colour(path):
                return _open_deep_png(path)
            return _open_pillow(path)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(path, f"its {kind.upper()} header cannot be understood", _DAMAGED) from error
    except Image.DecompressionBombError as error:
        raise InputError(path, "larger than Pillow's safety limit of pixels", "Cut it into parts") from error
    except Exception as error:  # the decoders raise anything from OSError to struct.error on damaged files
        raise InputError(path, f"its {kind.upper()} data is truncated or damaged", _DAMAGED) from error


def _open_pillow(path: Path) -> Picture:
    with Image.open(path) as image:
        mode = image.mode
        if getattr(image, "n_frames", 1) > 1:
            raise InputError(path, f"it holds {image.n_frames} pictures", "Save each as a file of its own")
        if mode == "1":
            raise InputError(path, "it has only 1 bit per pixel", "Leave it out: a mask is not an image to recalibrate")
        image.load()
        if mode == "P" or (mode in ("L", "RGB") and "transparency" in image.info):
            return _expand(image, palette=mode == "P")
        if mode in ("L", "LA", "RGB", "RGBA"):
            return _split(np.asarray(image), mode)
        if mode.startswith("I"):
            # PNG and TIFF with 16 bits of gray: "I;16", or "I" in Pillow before 11.
            values = np.asarray(image)
            if values.min(initial=0) < 0 or values.max(initial=0) > 0xFFFF:
                raise InputError(path, "it holds values beyond 16 bits", "Save it as a 32 bit TIFF")
            return Picture(values.astype(np.uint16)[..., None], None, mode)
    raise InputError(path, f"colour mode {mode} is not supported", "Convert it to gray or RGB")


def _expand(image: Image.Image, palette: bool) -> Picture:
    rgba = np.asarray(image.convert("RGBA"))
    alpha = rgba[..., 3:] if "transparency" in image.info else None
    colour = rgba[..., :3]
    if (colour[..., 0] == colour[..., 1]).all() and (colour[..., 0] == colour[..., 2]).all():
        colour = colour[..., :1]
    return Picture(colour.copy(), alpha, image.mode, palette)


def _split(values: npt.NDArray[Any], mode: str) -> Picture:
    values = values[..., None] if values.ndim == 2 else values
    count = 3 if values.shape[-1] >= 3 else 1
    return Picture(values[..., :count], values[..., count:] if values.shape[-1] > count else None, mode)


def _is_deep_colour(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.read(26)
    return len(header) == 26 and header[24] == 16 and header[25] in (2, 4, 6)


def _open_deep_png(path: Path) -> Picture:
    # Pillow reduces 16 bit colour and 16 bit gray with alpha to 8 bits.
    width, height, rows, info = png.Reader(filename=str(path)).read()
    values = np.stack([np.asarray(row, dtype=np.uint16) for row in rows]).reshape(height, width, info["planes"])
    return _split(values, "RGB;16" if info["planes"] >= 3 else "LA;16")


def _open_tiff(path: Path) -> Picture:
    with tifffile.TiffFile(path) as file:
        if len(file.pages) != 1:
            raise InputError(path, f"it holds {len(file.pages)} pages", "Save each as a file of its own, or as NIfTI")
        page = file.pages[0]
        depth, samples = page.bitspersample, page.samplesperpixel
        photometric = getattr(page.photometric, "name", str(page.photometric))
        plain = photometric in ("MINISBLACK", "RGB") and samples <= 4
        if depth < 8:
            raise InputError(path, f"it has only {depth} bits per pixel", "Convert it to 8 or 16 bits")
        if not plain or depth not in (8, 16, 32, 64):
            if depth == 8 and photometric in ("PALETTE", "YCBCR"):
                return _open_pillow(path)
            text = f"a TIFF with {samples} x {depth} bits of kind {photometric.lower()} is not supported"
            raise InputError(path, text, "Convert it to gray or RGB with 8 or 16 bits")
        try:
            values = page.asarray()
        except ValueError:
            # tifffile needs a further package for some compressions; Pillow's libtiff reads them up to 8 bits.
            if depth > 8 and samples > 1:
                text = f"its compression ({page.compression.name}) cannot be read at this depth"
                raise InputError(path, text, "Save it uncompressed or with deflate") from None
            return _open_pillow(path)
        if int(page.planarconfig) == 2 and samples > 1:
            values = np.moveaxis(values, 0, -1)
        if values.dtype.kind not in "iuf":
            raise InputError(path, f"voxels of type {values.dtype} are not supported", "Convert it to 16 bits")
        values = values.astype(values.dtype.newbyteorder("="))
        return _split(values, photometric)
