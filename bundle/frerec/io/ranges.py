"""The intensity ranges an image offers, and which of them `auto` takes; the one place where that is decided.

A range says which physical values become 0 and 1 (`frerec.io.intensity`). What a file *can* store says little
about what its image occupies: 12 bits of data come in 16 bit files, windows of 65535 in 12 bit radiographs. On a scale
far wider than the image the high frequencies of the references would bury it, so a range that the image hardly fills is
not taken.

`auto` takes the first line that fits:

======================================  ============  ================================================================
image                                   rule          range
======================================  ============  ================================================================
unsigned pictures of 8 and 16 bits;     `stored`      all that can be stored: an 8 bit picture is divided by 255
colour DICOM; gray DICOM of at most     `bits`        0 to 2**b - 1 for the b bits in use, where more than 8 can be
8 bits without rescale; NIfTI of                      stored and not all of them are in use
unsigned bytes without scaling
CT                                      `hounsfield`  -1024 to 3071 HU, the same for every CT image
MR, NM, PT; NIfTI; other pictures       `robust`      0.5th to 99.5th percentile of the whole image or volume
other gray DICOM (CR, DX, MG, XA, ...)  `window`      the first window of the header, cut to what can be stored
======================================  ============  ================================================================

and `robust` instead of any of them where the image's robust range fills less than `FILLED` of it (of a window and of
the scale of CT: `SCALE_FILLED`). The limits are our choice: an 8 bit patch of a mammogram, the flattest real image
measured, fills a tenth of its range and most more than an eighth; images of other kinds fill two fifths and more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frerec.errors import InputError

#: Names of ranges that a user may ask for. An image always has `measured` and `robust`, others where it offers them.
RULES = ("auto", "stored", "bits", "window", "hounsfield", "robust", "measured")
#: Percentiles of the `robust` range.
ROBUST_PERCENTILES = (0.5, 99.5)
#: The scale of CT images: 12 bits of Hounsfield units, the same for every file.
HOUNSFIELD = (-1024.0, 3071.0)
#: Share of a range that the robust range of an image must fill; of one that is stated by a header or by convention, the
#: second. A slice of CT with air in it fills more than that, a patch of tissue does not.
FILLED, SCALE_FILLED = 1 / 8, 1 / 4

#: Ranges by name as `[lower, upper]`, and under `auto` the name of the one to take, under `why` the reason.
Ranges = dict[str, Any]


def measure(path: Path, array: npt.NDArray[np.float32], padding: npt.NDArray[np.bool_] | None = None) -> Ranges:
    """The ranges that depend on the image's own values alone.

    Args:
        path: named in errors.
        array: physical values, (C, *spatial).
        padding: (*spatial), true where a voxel is padding and does not count.

    Returns:
        ``measured``: smallest and largest value; ``robust``: the 0.5th and 99.5th percentile, or ``measured`` where
        these coincide. ``auto`` is ``robust``.

    Raises:
        InputError: all voxels have the same value, or all are padding.
    """
    values = array if padding is None or not padding.any() else array[:, ~padding]
    if values.size == 0:
        raise InputError(path, "all of it is pixel padding", "Leave it out: there is nothing to recalibrate")
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise InputError(path, f"constant image: every voxel is {low:g}", "Leave it out: there is no frequency in it")
    robust = [float(value) for value in np.percentile(values, ROBUST_PERCENTILES)]
    if not robust[0] < robust[1]:
        robust = [low, high]
    return {"measured": [low, high], "robust": robust, "auto": "robust", "why": "it states no other range"}


def offer_stored(ranges: Ranges, limits: Sequence[float], take: bool = True) -> None:
    """Add ``stored`` and, where the image uses fewer bits than can be stored, ``bits``, in place.

    Args:
        ranges: of `measure`.
        limits: smallest and largest storable value, in physical units.
        take: let `auto` take it if the image fills it.
    """
    low, high = (float(end) for end in limits)
    ranges["stored"] = [low, high]
    name, why = "stored", "all that can be stored"
    top = ranges["measured"][1]
    bits = max(8, int(top).bit_length())
    if low == 0 and (1 << bits) - 1 < high:
        ranges["bits"] = [0.0, float((1 << bits) - 1)]
        name, why = "bits", f"{bits} of {int(high).bit_length()} bits are in use"
    if take:
        _take(ranges, name, why, FILLED)


def offer_window(ranges: Ranges, window: Sequence[float] | None, limits: Sequence[float] | None) -> None:
    """Add ``window``, cut to what can be stored, and let `auto` take it if the image fills it; in place.

    Args:
        ranges: of `measure`.
        window: lower and upper end in physical units; None for an image without one.
        limits: smallest and largest storable value in physical units; None where there is no such bound.
    """
    if window is None:
        ranges["why"] = "its header states no window"
        return
    low, high = (float(end) for end in window)
    if limits is not None:
        low, high = max(low, float(limits[0])), min(high, float(limits[1]))
    if not low < high:
        ranges["why"] = "its window lies beyond what can be stored"
        return
    ranges["window"] = [low, high]
    robust = ranges["robust"]
    if not (robust[0] < high and low < robust[1]) or high - low < FILLED * (robust[1] - robust[0]):
        ranges["why"] = "hardly any of its values lie within its window"
    else:
        _take(ranges, "window", "the first window of its header", SCALE_FILLED)


def offer_hounsfield(ranges: Ranges) -> None:
    """Add ``hounsfield``, and let `auto` take it if the values can be Hounsfield units; in place."""
    ranges["hounsfield"] = list(HOUNSFIELD)
    low, high = ranges["robust"]
    width = HOUNSFIELD[1] - HOUNSFIELD[0]
    if low < HOUNSFIELD[0] - width or high > HOUNSFIELD[1] + width:
        ranges["why"] = "its values cannot be Hounsfield units"
    else:
        _take(ranges, "hounsfield", "the scale of CT", SCALE_FILLED)


def _take(ranges: Ranges, name: str, why: str, needed: float) -> None:
    low, high = ranges[name]
    robust = ranges["robust"]
    share = (robust[1] - robust[0]) / (high - low)
    if share < needed:
        ranges.update(auto="robust", why=f"its values fill only {share:.1%} of {name} ({low:g} to {high:g})")
    else:
        ranges.update(auto=name, why=why)
