"""NIfTI-1 and NIfTI-2 images, .nii and .nii.gz, two or three dimensions."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from frerec.errors import InputError
from frerec.imaging.likeness import Likeness
from frerec.imaging.ranges import measure, offer_stored
from frerec.imaging.reading import Reading, as_channels, check_size, file_sha256, to_float32
from frerec.imaging.stored_pixels import StoredPixels, changed_voxels, count_clipped, encode_integers

_DAMAGED = "Fetch or export it again"


def read_nifti(path: Path, channels: int | None = None) -> Reading:
    """Read a NIfTI image.

    The first two axes are swapped, so that the array is row-major, (C, j, i[, k]), as pictures and DICOM are; the
    columns of the affine are swapped with them, so that every voxel keeps its place in the world. Trailing axes of
    length one are dropped and remembered.

    Args:
        path: the file.
        channels: wanted number of channels, or None; NIfTI images have one.

    Raises:
        InputError: damaged, 4-D, complex or colour voxels, non-finite or constant values.
    """
    image, stored, slope, intercept = _open(path)
    squeezed = _squeeze(path, stored)
    values = to_float32(path, _scale(np.swapaxes(squeezed, 0, 1), slope, intercept))
    details: dict[str, Any] = {"warnings": []}
    array = as_channels(path, values[None], channels, details)
    affine = np.asarray(image.affine, np.float64)[:, [1, 0, 2, 3]]
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        details["warnings"].append("its affine is not invertible; voxel sizes of the header are used instead")
        zooms = [float(zoom) or 1.0 for zoom in (*image.header.get_zooms()[:3], 1.0, 1.0)[:3]]
        affine = np.diag([zooms[1], zooms[0], zooms[2], 1.0])
    spacing = np.linalg.norm(affine[:3, :3], axis=0)[: squeezed.ndim]
    ranges = measure(path, array)
    if stored.dtype == np.uint8 and (slope, intercept) == (1.0, 0.0):
        offer_stored(ranges, (0, 255))
    if stored.dtype.kind in "iu":
        limits = np.iinfo(stored.dtype)
        details["limits"] = sorted(float(end) * slope + intercept for end in (limits.min, limits.max))
    details.update(
        range=ranges,
        shape=list(array.shape),
        dtype=stored.dtype.str,
        last_axis="slice" if squeezed.ndim == 3 else "none",
        spacing=[float(value) for value in spacing],
        geometry="patient",
        file_shape=list(stored.shape),
        slope=slope,
        intercept=intercept,
        version=2 if int(image.header["sizeof_hdr"]) == 540 else 1,
    )
    return Reading(np.ascontiguousarray(array), affine, file_sha256(path), "nifti", details)


def restore_nifti(path: Path, array: npt.NDArray[np.float32], scale: float, width: float) -> StoredPixels:
    """Stored values of a processed image, unchanged voxels as they were.

    Args:
        path: the original.
        array: (1, H, W[, D]) physical values.
        scale: as in ``stored_pixels.changed_voxels``.
        width: of the range of values in use, see ``likeness.Likeness.of``.
    """
    _, stored, slope, intercept = _open(path)
    new = np.swapaxes(array[0], 0, 1).reshape(stored.shape)
    old = _scale(stored, slope, intercept)
    changed = changed_voxels(new, old.astype(np.float32), scale)
    wanted = (new.astype(np.float64) - intercept) / slope
    clipped = 0
    if stored.dtype.kind in "iu":
        limits = np.iinfo(stored.dtype)
        clipped = count_clipped(wanted, changed, int(limits.min), int(limits.max))
        encoded = encode_integers(wanted, int(limits.min), int(limits.max), stored.dtype)
    else:
        encoded = wanted.astype(stored.dtype)
    result = np.where(changed, encoded, stored).astype(stored.dtype)
    likeness = Likeness.of(old, _scale(result, slope, intercept), new, width)
    return StoredPixels(path, result, bool(changed.any()), clipped=clipped, likeness=likeness)


def _open(path: Path) -> tuple[Any, npt.NDArray[Any], float, float]:
    try:
        image = _load(path)
        stored = np.asanyarray(image.dataobj.get_unscaled())
        slope, intercept = image.dataobj.slope, image.dataobj.inter
    except (ImageFileError, HeaderDataError, EOFError, OSError, ValueError, OverflowError, zlib.error) as error:
        raise InputError(path, "its NIfTI header or data is truncated or damaged", _DAMAGED) from error
    if stored.dtype.kind not in "iuf":
        kind = "complex" if stored.dtype.kind == "c" else "colour or structured"
        raise InputError(path, f"{kind} voxels are not supported", "Save magnitude or one channel as real numbers")
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise InputError(path, f"its scl_slope {slope:g} or scl_inter {intercept:g} is unusable", "Correct the header")
    return image, stored, float(slope), float(intercept)


def _load(path: Path) -> Any:
    """Open by content: nibabel chooses by the name's ending, which may be missing or wrong."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if path.name.endswith(".nii") and not packed:
        return nib.load(path)
    # Unpacked as a whole: nibabel would stop at the last voxel and leave the checksum behind it unread.
    data = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    kind = nib.Nifti2Image if data[4:7] == b"n+2" else nib.Nifti1Image
    return kind.from_bytes(data)


def _squeeze(path: Path, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    shape = stored.shape
    check_size(path, shape)
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 3:
        text = f"a {len(shape)}-D image ({' x '.join(map(str, stored.shape))}), but 2-D and 3-D are read"
        raise InputError(path, text, "Split it into one file per volume")
    if len(shape) < 2:
        raise InputError(path, f"only {len(shape)} dimension(s)", "Save it as a 2-D or 3-D image")
    return stored.reshape(shape, order="F")


def _scale(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[Any]:
    if (slope, intercept) == (1.0, 0.0):
        return stored
    return stored.astype(np.float64) * slope + intercept
