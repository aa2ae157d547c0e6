"""Pictures: PNG, TIFF, JPEG and BMP of 8 or 16 bits (TIFF also 32, 64 and floating point), gray or RGB, with alpha."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from frerec.errors import InputError
from frerec.io.formats import InputFile
from frerec.io.likeness import Likeness
from frerec.io.picture.decoding import Picture, open_with_pillow, why_undecodable
from frerec.io.picture.tiff import open_tiff
from frerec.io.ranges import Ranges
from frerec.io.reading import Reading, as_channels, as_file_channels, check_size, to_float32
from frerec.io.records import Source
from frerec.io.restoring import MINISWHITE, EncodedPixels, Scale, changed_voxels, encode


def read_picture(file: InputFile, channels: int | None = None) -> Reading:
    """Read a picture; its physical values are its stored values.

    Palettes are resolved to gray (where all their colours are) or RGB; alpha is kept aside, and so is the one
    transparent value of a PNG; an EXIF or TIFF orientation is not applied. A TIFF whose zero is white (MINISWHITE) is
    turned over, so that brighter is higher. The affine is the identity: a picture states no position in a patient.

    Args:
        file: a PNG, TIFF, JPEG or BMP.
        channels: wanted number of channels, or None; see ``reading.as_channels``.

    Raises:
        InputError: truncated or unsupported, see the message.
    """
    path, picture = file.path, open_picture(file)
    stored = np.moveaxis(picture.colour, -1, 0)
    check_size(path, stored.shape)
    array, replicated = as_channels(path, to_float32(path, stored), channels)
    ranges, limits = Ranges(path, array), None
    if stored.dtype.kind == "u" and stored.dtype.itemsize <= 2:
        ranges.offer_stored((0, np.iinfo(stored.dtype).max))
        # What uses 12 of 16 bits keeps to them.
        limits = ranges.get("bits", ranges["stored"])
    source = Source(
        path=str(path),
        relative_path=path.name,
        sha256=file.sha256,
        kind=file.kind,
        files=(file,),
        shape=array.shape,
        dtype=stored.dtype.str,
        ranges=ranges,
        limits=limits,
        spacing=(1.0, 1.0),
        replicated=replicated,
        palette=picture.palette,
        step=1.0 if stored.dtype.kind in "iu" else 0.0,
        warnings=tuple(picture.warnings),
    )
    return Reading(array, np.eye(4), source)


def restore_picture(source: Source, array: npt.NDArray[np.float32], scale: Scale) -> EncodedPixels:
    """Values to store of a processed picture, unchanged pixels as they were.

    Args:
        source: of the picture that was read.
        array: (C, H, W) physical values.
        scale: see there.
    """
    picture = open_picture(source.files[0])
    original = picture.colour
    new = np.moveaxis(as_file_channels(array, source), 0, -1)
    changed = changed_voxels(new, original.astype(np.float32), scale.largest)
    whole = original.dtype.kind in "iu"
    limits = None if source.limits is None else (int(source.limits[0]), int(source.limits[1]))
    stored, clipped = encode(new.astype(np.float64) if whole else new, changed, original, limits)
    likeness = Likeness.of(original, stored, new, scale.width, float(whole))
    if picture.inverted:
        stored = np.iinfo(original.dtype).max - stored
    if picture.alpha is not None:
        stored = np.concatenate([stored, picture.alpha], axis=-1)
    stored = stored[..., 0] if stored.shape[-1] == 1 else stored
    kind_of_gray = MINISWHITE if picture.inverted else ""
    return EncodedPixels(source.files[0], stored, bool(changed.any()), kind_of_gray, clipped=clipped, likeness=likeness)


def open_picture(file: InputFile) -> Picture:
    """Decode a picture without losing depth.

    Raises:
        InputError: truncated, several pages, or a kind that is not supported.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return open_tiff(file) if file.kind == "tiff" else open_with_pillow(file)
    except InputError:
        raise
    except Exception as error:  # the decoders raise anything from OSError to struct.error on damaged files
        raise why_undecodable(file, error) from error
