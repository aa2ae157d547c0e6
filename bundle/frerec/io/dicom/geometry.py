"""Where DICOM images lie in the patient: planes, their order in a volume, and the affine of an array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from frerec.io.dicom.values import functional_group

# Orientations of one volume agree to rounding of their decimal strings.
_SAME_DIRECTION = 1e-3
# Slices closer together lie at one place.
_SAME_PLACE_MM = 1e-3
# Share of the usual slice spacing by which a distance may differ before the spacing counts as uneven.
_UNEVEN = 0.05
_NOTICEABLE = 0.01
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Plane:
    """An image plane in patient coordinates (LPS, millimetres; PS3.3 C.7.6.2.1.1).

    Args:
        position: centre of the first pixel.
        along_row: unit vector in which the column index grows.
        along_column: unit vector in which the row index grows.
    """

    position: npt.NDArray[np.float64]
    along_row: npt.NDArray[np.float64]
    along_column: npt.NDArray[np.float64]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit vector perpendicular to the plane."""
        return np.cross(self.along_row, self.along_column)


def plane_of(dataset: Dataset, frame: int = 0) -> Plane | None:
    """The plane of an image or of a frame, or None where it states none that is usable."""
    group = functional_group(dataset, "PlanePositionSequence", frame) or dataset
    position = _numbers(group, "ImagePositionPatient", 3)
    group = functional_group(dataset, "PlaneOrientationSequence", frame) or dataset
    orientation = _numbers(group, "ImageOrientationPatient", 6)
    if position is None or orientation is None:
        return None
    along_row, along_column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(along_row), np.linalg.norm(along_column)
    if abs(lengths[0] - 1) > 0.01 or abs(lengths[1] - 1) > 0.01 or abs(along_row @ along_column) > 0.01:
        return None
    return Plane(position, along_row / lengths[0], along_column / lengths[1])


def pixel_spacing(dataset: Dataset, frame: int = 0) -> tuple[float, float] | None:
    """Millimetres between rows and between columns, or None where the object states neither.

    Projection images state the spacing at the detector where that in the patient is unknown.
    """
    group = functional_group(dataset, "PixelMeasuresSequence", frame) or dataset
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        values = _numbers(group, keyword, 2)
        if values is not None and (values > 0).all():
            return float(values[0]), float(values[1])
    return None


def slice_thickness(dataset: Dataset, frame: int = 0) -> float:
    """Millimetres that a single slice stands for; 1.0 where unknown."""
    group = functional_group(dataset, "PixelMeasuresSequence", frame) or dataset
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        values = _numbers(group, keyword, 1)
        if values is not None and values[0] > 0:
            return float(values[0])
    return 1.0


def affine_of(
    plane: Plane | None, spacing: tuple[float, float], step: npt.NDArray[np.float64] | float
) -> npt.NDArray[np.float64]:
    """The affine of an array indexed (row, column, slice).

    Args:
        plane: of the first slice; None for a picture whose place is unknown.
        spacing: millimetres between rows and between columns.
        step: vector from one slice to the next in LPS, or its length along the plane's normal.

    Returns:
        (4, 4) matrix to RAS+ millimetres; without a plane only a scaling.
    """
    if plane is None:
        return np.diag([spacing[0], spacing[1], float(np.linalg.norm(step)), 1.0])
    affine = np.eye(4)
    affine[:3, 0] = plane.along_column * spacing[0]
    affine[:3, 1] = plane.along_row * spacing[1]
    affine[:3, 2] = plane.normal * step if np.ndim(step) == 0 else step
    affine[:3, 3] = plane.position
    return _LPS_TO_RAS @ affine


def places(planes: Sequence[Plane]) -> list[int]:
    """Number the places along the common normal at which planes lie.

    Args:
        planes: parallel planes, at least one.

    Returns:
        For each plane the number of its place, from 0 at the lowest; planes at the same place have the same number.
    """
    heights = np.stack([plane.position for plane in planes]) @ planes[0].normal
    order = np.argsort(heights, kind="stable")
    apart = max(_SAME_PLACE_MM, 1e-3 * float(np.ptp(heights)) / len(planes))
    numbers = np.zeros(len(planes), np.int64)
    numbers[order[1:]] = np.cumsum(np.diff(heights[order]) > apart)
    return [int(number) for number in numbers]


def why_no_volume(planes: Sequence[Plane], what: str) -> str:
    """Why planes are not the slices of one volume; empty if they are.

    Args:
        planes: at least two.
        what: ``slices`` or ``frames``, for the sentence.
    """
    if not all(is_parallel(plane, planes[0]) for plane in planes):
        return f"its {what} are not parallel"
    counts = Counter(places(planes))
    if len(counts) < len(planes):
        return f"4-D: its {len(planes)} {what} lie at {len(counts)} positions, up to {max(counts.values())} at one"
    return ""


def is_parallel(plane: Plane, other: Plane) -> bool:
    """Whether two planes have the same orientation but for the rounding of its decimal strings."""
    turned = np.abs([plane.along_row - other.along_row, plane.along_column - other.along_column])
    return bool(turned.max() <= _SAME_DIRECTION)


def order_planes(planes: Sequence[Plane], what: str) -> tuple[list[int], npt.NDArray[np.float64], list[str]]:
    """Order the planes of a volume along their normal.

    Args:
        planes: at least two, of which `why_no_volume` has nothing to say.
        what: ``slices`` or ``frames``, for the warnings.

    Returns:
        The planes' indices in order; the vector in LPS from one slice to the next, of unevenly spaced planes the mean
        from the first to the last; and warnings.
    """
    positions = np.stack([plane.position for plane in planes])
    heights = positions @ planes[0].normal
    order = [int(index) for index in np.argsort(heights, kind="stable")]
    steps = np.diff(heights[order])
    step = (positions[order[-1]] - positions[order[0]]) / (len(planes) - 1)
    usual = float(np.median(steps))
    if float(np.abs(steps - usual).max()) > _UNEVEN * usual:
        return order, step, [_describe_uneven(steps, usual, what)]
    ideal = positions[order[0]] + np.arange(len(planes))[:, None] * step
    off = float(np.abs(positions[order] - ideal).max()) / float(np.linalg.norm(step))
    uneven = max(off, float(np.abs(steps - usual).max()) / usual)
    if uneven > _NOTICEABLE:
        return order, step, [f"its {what} are off an even grid by up to {100 * uneven:.1f} % of their spacing"]
    return order, step, []


def _describe_uneven(steps: npt.NDArray[np.float64], usual: float, what: str) -> str:
    odd = np.flatnonzero(np.abs(steps - usual) > _UNEVEN * usual)
    times = np.rint(steps[odd] / usual)
    # A few gaps of a whole number of slices in an otherwise even stack; halves of two distances are no such thing.
    few = len(odd) <= max(1, len(steps) // 10) < len(steps)
    if few and (times >= 2).all() and np.allclose(steps[odd], times * usual, rtol=_UNEVEN):
        at = int(odd[0])
        return (
            f"{int((times - 1).sum())} of its {what} may be missing: {steps[at]:.3f} mm between number {at + 1} and "
            f"{at + 2} of {len(steps) + 1}, {usual:.3f} mm elsewhere"
        )
    return (
        f"its {what} are unevenly spaced ({steps.min():.3f} to {steps.max():.3f} mm), which matters only to what is "
        "done across them (spatial_dims=3): that takes their mean distance"
    )


def _numbers(group: Dataset, keyword: str, count: int) -> npt.NDArray[np.float64] | None:
    value: Any = group.get(keyword)
    if value is None or value == "":
        return None
    try:
        numbers = np.asarray(value, np.float64).reshape(-1)
    except (TypeError, ValueError):
        return None
    return numbers if numbers.size == count and np.isfinite(numbers).all() else None
