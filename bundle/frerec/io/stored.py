"""From a processed image back to the values its files store; every writer calls this and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frerec.errors import InputError
from frerec.io.dicom.restore import restore_file
from frerec.io.nifti.reader import restore_nifti
from frerec.io.picture.reader import restore_picture
from frerec.io.reading import as_file_channels, file_sha256
from frerec.io.source import Source
from frerec.io.stored_pixels import StoredPixels


def to_stored(
    array: npt.NDArray[Any], source: Source, normalize: Mapping[str, Any] | None = None
) -> list[StoredPixels]:
    """Encode a processed image as its original was.

    The original is read again. A voxel whose physical value is the original's, up to the rounding of a range
    normalisation, keeps its stored value bit for bit, and so does every padding pixel; any other is brought back
    through rescale, lookup table, inversion or colour space and rounded to the nearest storable value.

    Args:
        array: (C, H, W) or (C, H, W, D) physical values, as ``LoadMedicalImage`` gave them and ``RestoreRange`` gives
            them back.
        source: of the loaded image: ``Source.from_meta(meta["frerec"]["source"])``.
        normalize: ``meta["frerec"]["normalize"]`` where the range was normalised.

    Returns:
        One item per output file: for a DICOM series one per slice, in slice order; otherwise one.

    Raises:
        InputError: the array has another shape than the original, holds NaN or infinite values, or the original has
            changed since it was loaded.
    """
    values = np.asarray(array, np.float32)
    path, details = Path(source.path), source.details
    if list(values.shape) != list(details["shape"]):
        text = f"the processed image is {list(values.shape)}, the original {details['shape']}"
        raise InputError(path, text, "Keep the size: crop what was padded and leave out resizing transforms")
    if not np.isfinite(values).all():
        raise InputError(path, "the processed image holds NaN or infinite voxels", "Check weights and settings")
    bounds = [abs(float(normalize[end])) for end in ("lower", "upper")] if normalize else []
    scale = max([*bounds, *(abs(end) for end in details["range"]["measured"])])
    used = details["range"]["robust"]
    width = float(used[1]) - float(used[0])
    if source.format in ("dicom", "dicom-series"):
        return _dicom(values, details, scale, width)
    _check_unchanged(path, source.sha256)
    if source.format == "nifti":
        return [restore_nifti(path, values, scale, width)]
    return [restore_picture(path, source.format, values, details, scale, width)]


def _dicom(
    values: npt.NDArray[np.float32], details: Mapping[str, Any], scale: float, width: float
) -> list[StoredPixels]:
    values = as_file_channels(values, details)
    files = [Path(entry["path"]) for entry in details["files"]]
    for path, entry in zip(files, details["files"], strict=True):
        _check_unchanged(path, entry["sha256"])
    if details["last_axis"] == "none":
        return [restore_file(files[0], {0: values}, scale, width)]
    if details["frame_order"]:
        frames = {frame: values[..., place] for place, frame in enumerate(details["frame_order"])}
        return [restore_file(files[0], frames, scale, width)]
    return [restore_file(path, {0: values[..., place]}, scale, width) for place, path in enumerate(files)]


def _check_unchanged(path: Path, sha256: str) -> None:
    if not path.is_file() or file_sha256(path) != sha256:
        raise InputError(path, "the file has changed or gone since it was loaded", "Run it again on a quiet folder")
