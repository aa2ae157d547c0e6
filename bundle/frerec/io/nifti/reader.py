"""NIfTI-1 and NIfTI-2 images, .nii and .nii.gz, two or three dimensions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from frerec.errors import InputError
from frerec.io.likeness import Likeness
from frerec.io.nifti.file import read_nifti_file
from frerec.io.ranges import measure, offer_stored
from frerec.io.reading import Reading, as_channels, file_sha256, to_float32
from frerec.io.stored_pixels import StoredPixels, changed_voxels, count_clipped, encode_integers


def read_nifti(path: Path, channels: int | None = None) -> Reading:
    """Read a NIfTI image.

    The first two axes are swapped, so that the array is row-major, (C, j, i[, k]), as pictures and DICOM are; the
    columns of the affine are swapped with them, so that every voxel keeps its place in the world. Trailing axes of
    length one are dropped and remembered.

    Args:
        path: the file.
        channels: wanted number of channels, or None; NIfTI images have one.

    Raises:
        InputError: damaged, CIFTI, 4-D, complex or colour voxels, non-finite or constant values.
    """
    file = read_nifti_file(path)
    stored, slope, intercept = file.stored, file.slope, file.intercept
    squeezed = _squeeze(path, stored)
    values = to_float32(path, _scale(np.swapaxes(squeezed, 0, 1), slope, intercept))
    details: dict[str, Any] = {"warnings": []}
    array = as_channels(path, values[None], channels, details)
    if not file.complete:
        details["warnings"].append("its header extensions are damaged and not kept from the damage on")
    affine = _affine(file.header, details["warnings"])
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
        version=2 if isinstance(file.header, Nifti2Header) else 1,
        labels=file.labels,
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
    file = read_nifti_file(path)
    stored, slope, intercept = file.stored, file.slope, file.intercept
    new = np.swapaxes(array[0], 0, 1).reshape(stored.shape)
    old = _scale(stored, slope, intercept)
    changed = changed_voxels(new, old.astype(np.float32), scale)
    # Only where it is used: an odd scaling may have no inverse in double precision for the others.
    wanted = np.where(changed, (new.astype(np.float64) - intercept) / slope, 0.0)
    clipped = 0
    if stored.dtype.kind in "iu":
        limits = np.iinfo(stored.dtype)
        clipped = count_clipped(wanted, changed, int(limits.min), int(limits.max))
        encoded = encode_integers(wanted, int(limits.min), int(limits.max), stored.dtype)
    else:
        encoded = wanted.astype(stored.dtype)
    result = np.where(changed, encoded, stored).astype(stored.dtype)
    step = abs(slope) if stored.dtype.kind in "iu" else 0.0
    likeness = Likeness.of(old, _scale(result, slope, intercept), new, width, step)
    return StoredPixels(path, result, bool(changed.any()), clipped=clipped, likeness=likeness)


def _affine(header: Nifti1Header, notes: list[str]) -> npt.NDArray[np.float64]:
    """Affine of the transposed image; of the voxel sizes alone where the header's is unusable."""
    try:
        affine = np.asarray(header.get_best_affine(), np.float64)[:, [1, 0, 2, 3]]
    except (HeaderDataError, ValueError):  # quaternions that are no rotation
        affine = np.full((4, 4), np.nan)
    if np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) >= 1e-12:
        return affine
    notes.append("its affine is not invertible; voxel sizes of the header are used instead")
    sizes = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    sizes[~np.isfinite(sizes) | (sizes == 0)] = 1.0
    return np.diag([sizes[1], sizes[0], sizes[2], 1.0])


def _squeeze(path: Path, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    shape = stored.shape
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
