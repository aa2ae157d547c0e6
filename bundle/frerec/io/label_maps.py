"""Masks and label maps: pictures of names, not of intensities, in which there is nothing to recalibrate.

Told by what the file declares (the NIfTI intent codes for labels, an indexed palette) and, where it declares nothing,
by its values: few distinct ones, in compact regions. Neither alone would do. A nearly black slice or a dithered picture
has few values without regions; an ultrasound of 16 grey levels has regions, but its neighbours differ by one level,
while labels meet in any order.

What separates was measured over the 9,600 images of the shared test data, the test files of pydicom and nibabel,
some of them reduced to 2 to 32 levels, blurred, dithered and darkened, and made label maps (nested and neighbouring
regions, vessels, small lesions, parcellations of up to 120 regions).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from frerec.errors import ConfigError, InputError
from frerec.io.reading import Reading

#: Values of the setting ``label_maps``.
CHOICES = ("refuse", "accept")

# More distinct values than that are intensities: the largest parcellations in common use name about 120 regions.
_MOST_LABELS = 127
# Up to so many values regions alone decide; with more, neighbours must also differ by more than an image's do.
_FEW = 5
_FEW_COLOURS = 8
# Below that, statistics of neighbours mean nothing.
_FEWEST_PIXELS = 64
# A soft mask (resized, or compressed with loss) lies at its two ends but for its borders.
_SHARE_OF_ONE = 0.3
_END, _SHARE_AT_ENDS, _SHARE_AT_EACH = 0.05, 0.97, 0.005
_REMEDY = "Leave it out (inference.json takes it all the same with --label_maps accept)"


def refuse_label_map(reading: Reading, label_maps: str) -> None:
    """Refuse an image that is a mask or a label map, whatever its format.

    Args:
        reading: the image.
        label_maps: ``refuse``, or ``accept`` to let everything pass.

    Raises:
        InputError: it is one, and is not wanted.
        ConfigError: ``label_maps`` is neither.
    """
    if label_maps not in CHOICES:
        raise ConfigError("label_maps", label_maps, "unknown label_maps", f"Use one of {', '.join(CHOICES)}")
    if label_maps == "accept":
        return
    array, _, source = reading
    if source.labels:
        raise InputError(source.path, "its header says that its values are labels, not intensities", _REMEDY)
    if array[0].size < _FEWEST_PIXELS:
        return
    if array.shape[0] > 1 and all((channel == array[0]).all() for channel in array[1:]):
        array = array[:1]
    reason = _labels(array, source.palette) or _soft_mask(array)
    if reason:
        raise InputError(source.path, f"a mask or label map, not an image: {reason}", _REMEDY)


def _labels(array: npt.NDArray[np.float32], palette: bool) -> str | None:
    indices, count = _indexed(array)
    if count == 0 or _low_contrast(array, count):
        return None
    compact, jump = _regions(indices, count)
    colours = array.shape[0] > 1
    if count == 2:
        found = compact >= 0.25
    elif count <= (_FEW_COLOURS if colours else _FEW):
        found = compact >= 0.5
    elif colours:
        # Colours have no order that neighbours could keep to.
        found = palette and count <= 32 and compact >= 0.8
    else:
        # Labels in any order differ by a third of their number on average.
        found = compact >= 0.7 and jump >= (count + 1) / 5
    kind = "colours" if colours else "values"
    return f"only {count} different {kind}, in closed regions" if found else None


def _low_contrast(array: npt.NDArray[np.float32], count: int) -> bool:
    # Neighbouring levels far from zero, such as 90 to 97: names are counted from zero or one, or have gaps.
    low, high = float(array.min()), float(array.max())
    return array.shape[0] == 1 and (low >= 2 or low < -1) and low.is_integer() and high - low == count - 1


def _soft_mask(array: npt.NDArray[np.float32]) -> str | None:
    if array.shape[0] > 1 or array.size < 32 * 32:
        return None
    low, high = float(array.min()), float(array.max())
    margin = _END * (high - low)
    sample = _sample(array)
    # A mask that was resized or compressed still has one value for the most part, anatomy beside a marker has not.
    if np.unique(sample, return_counts=True)[1].max() < _SHARE_OF_ONE * sample.size:
        return None
    if not _at_ends(sample, low, high, margin, slack=0.02):
        return None
    if not _at_ends(array, low, high, margin):
        return None
    compact, _ = _regions((array[0] > (low + high) / 2).astype(np.uint8), 2)
    return "nearly all its values are the lowest or the highest, in closed regions" if compact >= 0.8 else None


def _at_ends(values: npt.NDArray[np.float32], low: float, high: float, margin: float, slack: float = 0.0) -> bool:
    below, above = float((values <= low + margin).mean()), float((values >= high - margin).mean())
    return below + above >= _SHARE_AT_ENDS - slack and min(below, above) >= (_SHARE_AT_EACH if not slack else 0.0)


def _sample(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    # An odd step, so that it does not fall into step with rows and columns.
    return values.reshape(-1)[:: (values.size // 50_000) | 1]


def _indexed(array: npt.NDArray[np.float32]) -> tuple[npt.NDArray[Any], int]:
    """Each value (or colour) as its rank, (*spatial), and how many there are; zero for more than labels can be."""
    code: npt.NDArray[Any] = np.zeros(1, np.int32)
    for channel in array:
        ranks = _ranks(channel)
        if ranks is None:
            return code, 0
        code = ranks if len(array) == 1 else code * (_MOST_LABELS + 1) + ranks
    if len(array) == 1:
        return code, int(code.max()) + 1
    values, ranks = np.unique(code, return_inverse=True)
    return ranks.reshape(code.shape), len(values) if len(values) <= _MOST_LABELS else 0


def _ranks(channel: npt.NDArray[np.float32]) -> npt.NDArray[Any] | None:
    # A sample has no more values than the whole, so images leave here at once.
    if len(np.unique(_sample(channel))) > _MOST_LABELS:
        return None
    values = np.zeros(0, channel.dtype)
    for slab in channel:
        values = np.union1d(values, slab)
        if len(values) > _MOST_LABELS:
            return None
    return np.stack([np.searchsorted(values, slab).astype(np.uint8) for slab in channel])


def _regions(indices: npt.NDArray[Any], count: int) -> tuple[float, float]:
    """How compact the regions of equal value are, and by how many ranks their neighbours differ.

    Compactness is Cohen's kappa of neighbours: the share of equal pairs beyond what the same values would give in any
    order, 0 for noise and 1 for one region.
    """
    pairs = equal = jumps = 0
    for axis in range(indices.ndim):
        along = np.moveaxis(indices, axis, 0)
        first, second = along[:-1], along[1:]
        pairs += first.size
        equal += int((first == second).sum())
        jumps += int(np.abs(first.astype(np.int16) - second).sum())
    shares = np.bincount(indices.reshape(-1), minlength=count) / indices.size
    chance = float((shares**2).sum())
    compact = (equal / max(pairs, 1) - chance) / (1 - chance) if chance < 1 else 0.0
    return compact, jumps / max(pairs - equal, 1)
