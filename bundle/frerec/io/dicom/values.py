"""From stored DICOM values to physical ones and back, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from frerec.errors import InputError
from frerec.io.dicom.pixels import DicomPixels

try:
    from pydicom.pixels.processing import apply_color_lut
except ImportError:  # pydicom 2.4
    from pydicom.pixel_data_handlers.util import apply_color_lut  # type: ignore[no-redef]

# PS3.3 C.7.6.3.1.2, for 8 bit values with chroma centred on 128.
_RGB_FROM_YBR = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])
_CENTRE = np.array([0.0, 128.0, 128.0])


@dataclass(frozen=True)
class ValueRule:
    """How one frame's stored values become physical ones.

    Args:
        kind: ``identity``, ``rescale``, ``lut``, ``ybr`` or ``palette``.
        slope: Rescale Slope.
        intercept: Rescale Intercept.
        table: Modality LUT as (entries,) or palette as (entries, 3), indexed from ``first``.
        first: stored value of the table's first entry.
        mirror: for MONOCHROME1 the sum of the physical values of the smallest and the largest storable value; a value v
            becomes ``mirror - v``, so that brighter is higher. None for all others.
    """

    kind: str
    slope: float = 1.0
    intercept: float = 0.0
    table: npt.NDArray[Any] | None = None
    first: int = 0
    mirror: float | None = None

    def physical(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Physical values of a frame.

        Args:
            stored: (rows, columns, samples).

        Returns:
            (channels, rows, columns).
        """
        values = np.moveaxis(self._mapped(stored), -1, 0)
        return values if self.mirror is None else self.mirror - values.astype(np.float64)

    def _mapped(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self.kind == "rescale":
            return stored.astype(np.float64) * self.slope + self.intercept
        if self.kind == "ybr":
            rgb = (stored.astype(np.float64) - _CENTRE) @ _RGB_FROM_YBR.T
            return np.clip(np.floor(rgb + 0.5), 0, 255)
        if self.table is not None:
            index = np.clip(stored[..., 0].astype(np.int64) - self.first, 0, len(self.table) - 1)
            found = self.table[index]
            return found[..., None] if self.kind == "lut" else found
        return stored

    def stored(self, physical: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Inverse of ``physical`` before rounding; RGB for a palette and for YBR.

        Args:
            physical: (channels, rows, columns).

        Returns:
            (rows, columns, samples).
        """
        values = np.moveaxis(physical if self.mirror is None else self.mirror - physical, 0, -1)
        if self.kind == "rescale":
            return (values - self.intercept) / self.slope
        if self.kind == "lut" and self.table is not None:
            return self.first + _nearest_entry(self.table, values)
        return values


def _nearest_entry(table: npt.NDArray[Any], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    known, first_index = np.unique(table.astype(np.float64), return_index=True)
    right = np.minimum(np.searchsorted(known, values), len(known) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(values - known[left] <= known[right] - values, left, right)
    return first_index[nearest].astype(np.float64)


def value_rules(path: Path, dataset: Dataset, pixels: DicomPixels) -> list[ValueRule]:
    """The rule of each frame.

    Raises:
        InputError: a slope of zero, or a lookup table that cannot be used.
    """
    frames = len(pixels.stored)
    if pixels.photometric == "YBR_FULL":
        if pixels.stored.dtype != np.uint8:
            raise InputError(path, "YBR colour with more than 8 bits is not supported", "Convert it to RGB")
        return [ValueRule("ybr")] * frames
    if pixels.photometric == "PALETTE COLOR":
        first, table = _palette(path, dataset)
        return [ValueRule("palette", table=table, first=first)] * frames
    if pixels.photometric == "RGB":
        return [ValueRule("identity")] * frames
    if dataset.get("ModalityLUTSequence"):
        first, table = _modality_lut(path, dataset, pixels)
        mirror = float(table.min()) + float(table.max()) if pixels.photometric == "MONOCHROME1" else None
        return [ValueRule("lut", table=table, first=first, mirror=mirror)] * frames
    return [_rescale_rule(path, dataset, pixels, index) for index in range(frames)]


def _modality_lut(path: Path, dataset: Dataset, pixels: DicomPixels) -> tuple[int, npt.NDArray[Any]]:
    """The Modality LUT (PS3.3 C.11.1): the stored value of the first entry, and the entries."""
    item = dataset.ModalityLUTSequence[0]
    try:
        entries, first, _ = (int(value) for value in item.LUTDescriptor)
        data = item.LUTData
        order = "<" if _little_endian(dataset) else ">"
        values = np.frombuffer(data, f"{order}u2") if isinstance(data, bytes) else np.asarray(data).reshape(-1)
        table = values.astype(np.uint16)[: entries or 1 << 16]
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(path, "its Modality LUT is malformed", "Repair its header") from error
    if len(table) < (entries or 1 << 16):
        raise InputError(path, f"its Modality LUT has {len(table)} of {entries} entries", "Repair its header")
    # The descriptor's second value is signed where the pixels are, whatever the header declares.
    if pixels.stored.dtype.kind == "i" and first > 0x7FFF:
        first -= 0x10000
    return first, table


def _palette(path: Path, dataset: Dataset) -> tuple[int, npt.NDArray[Any]]:
    """The colour palette, segmented or not (PS3.3 C.7.6.3.1.5, C.7.9): first stored value, and (entries, 3) colours."""
    try:
        entries, first, _ = (int(value) for value in dataset.RedPaletteColorLookupTableDescriptor)
        entries = entries or 1 << 16
        table = apply_color_lut(np.arange(first, first + entries), dataset)[..., :3]
        if table.shape != (entries, 3):
            raise ValueError("a colour is missing")
        if not _little_endian(dataset) and "RedPaletteColorLookupTableData" in dataset:
            # pydicom takes unsegmented entries for little endian whatever the file is.
            table = table.byteswap() if table.itemsize == 2 else table.reshape(-1, 2, 3)[:, ::-1].reshape(-1, 3)
    except Exception as error:  # a malformed palette raises whatever its first misfit does
        raise InputError(path, "its colour palette is missing or malformed", "Convert it to RGB") from error
    return first, table


def _little_endian(dataset: Dataset) -> bool:
    return bool(dataset.file_meta.TransferSyntaxUID.is_little_endian)


def _rescale_rule(path: Path, dataset: Dataset, pixels: DicomPixels, frame: int) -> ValueRule:
    group = functional_group(dataset, "PixelValueTransformationSequence", frame)
    holder = dataset if group is None else group
    stated = holder.get("RescaleSlope"), holder.get("RescaleIntercept")
    slope = 1.0 if stated[0] in (None, "") else float(stated[0])
    intercept = 0.0 if stated[1] in (None, "") else float(stated[1])
    if slope == 0 or not isfinite(slope) or not isfinite(intercept):
        text = f"its rescale slope {slope:g} and intercept {intercept:g} are unusable"
        raise InputError(path, text, "Repair its header")
    mirror = None
    if pixels.photometric == "MONOCHROME1":
        mirror = slope * sum(pixels.limits) + 2 * intercept if pixels.stored.dtype.kind in "iu" else 0.0
    kind = "identity" if (slope, intercept) == (1.0, 0.0) else "rescale"
    return ValueRule(kind, slope, intercept, mirror=mirror)


def functional_group(dataset: Dataset, keyword: str, frame: int) -> Dataset | None:
    """The item of a functional group macro that holds for a frame, per frame or shared (PS3.3 C.7.6.16).

    Args:
        dataset: header of any object; None is returned for one without functional groups.
        keyword: the macro's sequence, such as ``PlanePositionSequence``.
        frame: index from 0.
    """
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in (*per_frame[frame : frame + 1], *shared[:1]):
        if group.get(keyword):
            return group[keyword].value[0]
    return None


def window(dataset: Dataset, rule: ValueRule) -> list[float] | None:
    """The first window of the first frame as a range of physical values (PS3.3 C.11.2.1.2), mirrored as the rule is.

    Returns:
        ``[lower, upper]`` or None without a usable window.
    """
    group = functional_group(dataset, "FrameVOILUTSequence", 0) or dataset
    centre, width = _first_number(group.get("WindowCenter")), _first_number(group.get("WindowWidth"))
    if centre is None or width is None or width <= 1:
        return None
    if str(group.get("VOILUTFunction") or "LINEAR") == "LINEAR":
        centre, width = centre - 0.5, width - 1
    ends = [centre - width / 2, centre + width / 2]
    return ends if rule.mirror is None else [rule.mirror - ends[1], rule.mirror - ends[0]]


def _first_number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    values = [value] if isinstance(value, (str, int, float)) or not hasattr(value, "__iter__") else list(value)
    try:
        number = float(values[0]) if values else None
    except (TypeError, ValueError):
        return None
    return number if number is not None and isfinite(number) else None
