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
CT; NIfTI of which a twentieth is air   `hounsfield`  -1024 to 3071 HU, the same for every CT image
MR, NM, PT; NIfTI; other pictures       `robust`      0.5th to 99.5th percentile of the whole image or volume
other gray DICOM (CR, DX, MG, XA, ...)  `window`      the first window of the header, cut to what can be stored
======================================  ============  ================================================================

and `robust` instead of any of them where the image's robust range fills less than `FILLED` of it (of a window and of
the scale of CT: `SCALE_FILLED`). The limits are our choice: an 8 bit patch of a mammogram, the flattest real image
measured, fills a tenth of its range and most more than an eighth; images of other kinds fill two fifths and more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
#: What tells CT from other images where no header does: a share of air, which has -1000 HU. Phase images, spread evenly
#: over as wide a range, have a hundredth there.
AIR, AIR_SHARE = (-1050.0, -950.0), 1 / 20


@dataclass(frozen=True)
class IntensityRange:
    """Which physical values become 0 and 1, by which rule, and why that one."""

    lower: float
    upper: float
    rule: str
    why: str


class Ranges(dict[str, tuple[float, float]]):
    """The ranges an image offers, by name, as (lower, upper) in physical units.

    It starts with those that depend on the values alone: ``measured``, from the smallest to the largest, and
    ``robust``, from the 0.5th to the 99.5th percentile, or ``measured`` where these coincide.

    Args:
        path: named in errors.
        array: physical values, (C, *spatial).
        padding: (*spatial), true where a voxel is padding and does not count.

    Attributes:
        auto: name of the range to take; ``why``: the reason.
        shows_air: whether a twentieth of the values or more are those of air in CT.

    Raises:
        InputError: all voxels have the same value, or all are padding.
    """

    def __init__(
        self, path: Path, array: npt.NDArray[np.float32], padding: npt.NDArray[np.bool_] | None = None
    ) -> None:
        values = array if padding is None or not padding.any() else array[:, ~padding]
        if values.size == 0:
            raise InputError(path, "all of it is pixel padding", "Leave it out: there is nothing to recalibrate")
        low, high = float(values.min()), float(values.max())
        if low == high:
            reason = f"constant image: every voxel is {low:g}"
            raise InputError(path, reason, "Leave it out: there is no frequency in it")
        lower, upper = (float(value) for value in np.percentile(values, ROBUST_PERCENTILES))
        super().__init__(measured=(low, high), robust=(lower, upper) if lower < upper else (low, high))
        self.auto, self.why = "robust", "it states no other range"
        self.shows_air = bool(((values >= AIR[0]) & (values <= AIR[1])).mean() >= AIR_SHARE)

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (dict(self), self.auto, self.why, self.shows_air)

    def choose(self, rule: str) -> IntensityRange:
        """The range of a rule; that of ``auto`` where the image has none of that name."""
        if rule == "auto":
            name, why = self.auto, self.why
        elif rule in self:
            name, why = rule, "asked for"
        else:
            name, why = self.auto, f"it has no range {rule}; {self.why}"
        return IntensityRange(*self[name], name, why)

    def offer_stored(self, limits: Sequence[float], take: bool = True) -> None:
        """Add ``stored`` and, where the image uses fewer bits than can be stored, ``bits``.

        Args:
            limits: smallest and largest storable value, in physical units.
            take: let `auto` take it if the image fills it.
        """
        low, high = (float(end) for end in limits)
        self["stored"] = low, high
        name, why = "stored", "all that can be stored"
        bits = max(8, int(self["measured"][1]).bit_length())
        if low == 0 and (1 << bits) - 1 < high:
            self["bits"] = 0.0, float((1 << bits) - 1)
            name, why = "bits", f"{bits} of {int(high).bit_length()} bits are in use"
        if take:
            self._take(name, why, FILLED)

    def offer_window(self, window: Sequence[float] | None, limits: Sequence[float] | None) -> None:
        """Add ``window``, cut to what can be stored, and let `auto` take it if the image fills it.

        Args:
            window: lower and upper end in physical units; None for an image without one.
            limits: smallest and largest storable value in physical units; None where there is no such bound.
        """
        if window is None:
            self.why = "its header states no window"
            return
        low, high = (float(end) for end in window)
        if limits is not None:
            low, high = max(low, float(limits[0])), min(high, float(limits[1]))
        if not low < high:
            self.why = "its window lies beyond what can be stored"
            return
        self["window"] = low, high
        robust = self["robust"]
        if not (robust[0] < high and low < robust[1]) or high - low < FILLED * (robust[1] - robust[0]):
            self.why = "hardly any of its values lie within its window"
        else:
            self._take("window", "the first window of its header", SCALE_FILLED)

    def offer_hounsfield(self, take: bool = True) -> None:
        """Add ``hounsfield``, and let `auto` take it if the values can be Hounsfield units.

        Args:
            take: False leaves `auto` as it is.
        """
        self["hounsfield"] = HOUNSFIELD
        low, high = self["robust"]
        width = HOUNSFIELD[1] - HOUNSFIELD[0]
        if low < HOUNSFIELD[0] - width or high > HOUNSFIELD[1] + width:
            self.why = "its values cannot be Hounsfield units" if take else self.why
        elif take:
            self._take("hounsfield", "the scale of CT", SCALE_FILLED)

    def _take(self, name: str, why: str, needed: float) -> None:
        (low, high), robust = self[name], self["robust"]
        share = (robust[1] - robust[0]) / (high - low)
        if share < needed:
            self.auto, self.why = "robust", f"its values fill only {share:.1%} of {name} ({low:g} to {high:g})"
        else:
            self.auto, self.why = name, why


def _again(ranges: dict[str, tuple[float, float]], auto: str, why: str, shows_air: bool) -> Ranges:
    """A `Ranges` from its parts, as copying and pickling make it."""
    result = Ranges.__new__(Ranges)
    result.update(ranges)
    result.auto, result.why, result.shows_air = auto, why, shows_air
    return result
