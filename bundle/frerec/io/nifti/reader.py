"""NIfTI-1 and NIfTI-2 images, .nii and .nii.gz, two or three dimensions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError

from frerec.errors import InputError
from frerec.io.formats import InputFile
from frerec.io.likeness import Likeness
from frerec.io.nifti.file import read_nifti_file
from frerec.io.ranges import Ranges
from frerec.io.reading import Reading, as_channels, to_float32
from frerec.io.records import Source
from frerec.io.restoring import EncodedPixels, Scale, changed_voxels, encode


def read_nifti(file: InputFile, channels: int | None = None) -> Reading:
    """Read a NIfTI image.

    The first two axes are swapped, so that the array is row-major, (C, j, i[, k]), as pictures and DICOM are; the
    columns of the affine are swapped with them, so that every voxel keeps its place in the world. Trailing axes of
    length one are dropped and remembered.

    Raises:
        InputError: damaged, CIFTI, 4-D, complex or colour voxels, non-finite or constant values.
    """
    path, nifti = file.path, read_nifti_file(file)
    stored, slope, intercept = nifti.stored, nifti.slope, nifti.intercept
    squeezed = _squeeze(path, stored)
    values = to_float32(path, _scale(np.swapaxes(squeezed, 0, 1), slope, intercept))
    array, _ = as_channels(path, values[None], channels)
    warnings = [] if nifti.complete else ["its header extensions are damaged and not kept from the damage on"]
    affine = _affine(nifti.header, warnings)
    ranges, limits = Ranges(path, array), None
    if stored.dtype == np.uint8 and (slope, intercept) == (1.0, 0.0):
        ranges.offer_stored((0, 255))
    # DICOM says what is CT, and the same image has to come out the same
    ranges.offer_hounsfield(take=ranges.shows_air)
    if stored.dtype.kind in "iu":
        info = np.iinfo(stored.dtype)
        low, high = sorted(float(end) * slope + intercept for end in (info.min, info.max))
        limits = low, high
    source = Source(
        path=str(path),
        relative_path=path.name,
        sha256=file.sha256,
        kind="nifti",
        files=(file,),
        shape=array.shape,
        dtype=stored.dtype.str,
        ranges=ranges,
        limits=limits,
        spacing=tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0)[: squeezed.ndim]),
        last_axis="slice" if squeezed.ndim == 3 else "none",
        labels=nifti.labels,
        step=abs(slope) if stored.dtype.kind in "iu" else 0.0,
        warnings=tuple(warnings),
    )
    return Reading(np.ascontiguousarray(array), affine, source)


def restore_nifti(source: Source, array: npt.NDArray[np.float32], scale: Scale) -> EncodedPixels:
    """Values to store of a processed image, unchanged voxels as they were.

    Args:
        source: of the image that was read.
        array: (1, H, W[, D]) physical values.
        scale: see there.
    """
    nifti = read_nifti_file(source.files[0])
    stored, slope, intercept = nifti.stored, nifti.slope, nifti.intercept
    new = np.swapaxes(array[0], 0, 1).reshape(stored.shape)
    old = _scale(stored, slope, intercept)
    changed = changed_voxels(new, old.astype(np.float32), scale.largest)
    # Only where it is used: an odd scaling may have no inverse in double precision for the others.
    wanted = np.where(changed, (new.astype(np.float64) - intercept) / slope, 0.0)
    result, clipped = encode(wanted, changed, stored)
    step = abs(slope) if stored.dtype.kind in "iu" else 0.0
    likeness = Likeness.of(old, _scale(result, slope, intercept), new, scale.width, step)
    return EncodedPixels(source.files[0], result, bool(changed.any()), clipped=clipped, likeness=likeness)


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
