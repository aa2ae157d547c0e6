"""Map an image's physical values linearly to the nominal range [0, 1], and back.

The map is ``(value - lower) / (upper - lower)``, without clipping, so nothing is lost outside the range. Which range is
meant is told by ``rule``; what ``auto`` takes for which image stands in `frerec.io.ranges`.

The networks and banks that come with the bundle were made from 8 bit chest X-rays divided by 255. Such a picture is a
radiograph as displayed, so the comparable scale of a CR or DX file with 10 to 16 bits is its display window, not its
storable range. Padding pixels never count.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from frerec.errors import ConfigError
from frerec.io.ranges import ROBUST_PERCENTILES, RULES
from frerec.io.source import Source


class NormalizeRange(Transform):
    """Map physical values to [0, 1] and note the range in ``meta["frerec"]["normalize"]``.

    The note is ``{"lower": float, "upper": float, "rule": str, "why": str}``: which range was taken, and the reason.

    What the file can store, on the new scale, stands in ``meta["frerec"]["storable"]``: 0 to 1 for a picture of 8 bits,
    minus to plus infinity where no bound is known.

    Args:
        rule: one of `frerec.io.ranges.RULES`: ``auto``, a range by name, or ``measured`` (smallest to largest
            value). An image that has no such range (``window`` of a PNG) falls back to ``auto``.
        lower: physical value that becomes 0; with ``upper`` it overrides the rule.
        upper: physical value that becomes 1.

    Raises:
        ConfigError: an unknown rule, or bounds that are incomplete or not increasing.
    """

    def __init__(self, rule: str = "auto", lower: float | None = None, upper: float | None = None) -> None:
        if rule not in RULES:
            raise ConfigError("rule", rule, "no such intensity range", f"Use one of {', '.join(RULES)}")
        if (lower is None) != (upper is None):
            raise ConfigError("lower, upper", (lower, upper), "only one bound is given", "Give both or neither")
        if lower is not None and upper is not None and not lower < upper:
            raise ConfigError("lower, upper", (lower, upper), "not increasing", "Give lower < upper")
        self.rule, self.lower, self.upper = rule, lower, upper

    def __call__(self, image: torch.Tensor) -> MetaTensor:
        """Normalise one image.

        Args:
            image: (C, *spatial), physical values.

        Returns:
            The image as float32 MetaTensor, with its range in the meta data.
        """
        chosen = self.choose(image)
        lower, upper = chosen["lower"], chosen["upper"]
        values = (_wide(image) - lower) / (upper - lower)
        result = _with_range(values, image, chosen)
        meta = result.meta["frerec"]
        details = Source.from_meta(meta["source"]).details if "source" in meta else {}
        limits = details.get("limits") or details.get("range", {}).get("stored") or (-math.inf, math.inf)
        low, high = ((float(end) - lower) / (upper - lower) for end in limits)
        # Slices of a volume may have scales of their own: what is in the image can be stored, whatever one slice says.
        meta["storable"] = {"lower": min(low, float(values.min())), "upper": max(high, float(values.max()))}
        return result

    def choose(self, image: torch.Tensor) -> dict[str, Any]:
        """The physical values that become 0 and 1, with the rule they follow and the reason for it.

        Args:
            image: loaded by ``LoadMedicalImage``; any other tensor is measured itself.
        """
        if self.lower is not None and self.upper is not None:
            return _range((self.lower, self.upper), "given", "bounds given by the user")
        meta = getattr(image, "meta", {}).get("frerec", {})
        if "source" not in meta:
            name = "measured" if self.rule == "measured" else "robust"
            return _range(_measured(image, name), name, "an image without a file")
        ranges = Source.from_meta(meta["source"]).details["range"]
        if self.rule == "auto":
            name, why = ranges["auto"], ranges["why"]
        elif self.rule in ranges:
            name, why = self.rule, "asked for"
        else:
            name, why = ranges["auto"], f"it has no range {self.rule}; {ranges['why']}"
        return _range(ranges[name], name, why)


def _range(ends: Sequence[float], rule: str, why: str) -> dict[str, Any]:
    return {"lower": float(ends[0]), "upper": float(ends[1]), "rule": rule, "why": why}


class RestoreRange(Transform):
    """Inverse of ``NormalizeRange``.

    The map back is computed in double precision. What it cannot give back to the last bit of float32,
    ``frerec.io.stored.to_stored`` recognises as unchanged.
    """

    def __call__(self, image: torch.Tensor, reference: torch.Tensor | None = None) -> MetaTensor:
        """Bring one image back to physical values.

        Args:
            image: (C, *spatial), normalised.
            reference: image that ``NormalizeRange`` returned and whose meta data the result gets; None for ``image``
                itself.

        Raises:
            ConfigError: neither was normalised by ``NormalizeRange``.
        """
        reference = image if reference is None else reference
        bounds = getattr(reference, "meta", {}).get("frerec", {}).get("normalize")
        if bounds is None:
            remedy = "Apply NormalizeRanged to the reference image first"
            raise ConfigError("reference_key", None, "the image carries no normalised range", remedy)
        lower, upper = float(bounds["lower"]), float(bounds["upper"])
        return _with_range(_wide(image) * (upper - lower) + lower, reference, None)


class NormalizeRanged(MapTransform):
    """Dictionary version of ``NormalizeRange``.

    Args:
        keys: images to normalise.
        rule: as in ``NormalizeRange``.
        lower: as in ``NormalizeRange``.
        upper: as in ``NormalizeRange``.
        allow_missing_keys: do not fail where a key is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        rule: str = "auto",
        lower: float | None = None,
        upper: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.normalize = NormalizeRange(rule, lower, upper)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalise the images under the keys; see ``NormalizeRange``."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.normalize(result[key])
        return result


class RestoreRanged(MapTransform):
    """Dictionary version of ``RestoreRange``.

    Args:
        keys: images to bring back.
        reference_key: key of the normalised input image, whose range is undone and whose meta data the result gets;
            None to use each image's own.
        allow_missing_keys: do not fail where a key is missing.
    """

    def __init__(
        self, keys: KeysCollection, reference_key: Hashable | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference_key = reference_key
        self.restore = RestoreRange()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring the images under the keys back; see ``RestoreRange``."""
        result = dict(data)
        for key in self.key_iterator(result):
            reference = None if self.reference_key is None else result[self.reference_key]
            result[key] = self.restore(result[key], reference)
        return result


def _wide(image: torch.Tensor) -> torch.Tensor:
    # Double precision on the CPU, because some accelerators have none; rounding then happens once, at the end.
    values = image.as_tensor() if isinstance(image, MetaTensor) else torch.as_tensor(image)
    return values.detach().to("cpu", torch.float64)


def _measured(image: torch.Tensor, rule: str) -> tuple[float, float]:
    values = _wide(image).numpy()
    lower, upper = float(values.min()), float(values.max())
    if rule != "measured":
        low, high = (float(value) for value in np.percentile(values, ROBUST_PERCENTILES))
        lower, upper = (low, high) if low < high else (lower, upper)
    if not lower < upper:
        raise ConfigError("rule", rule, f"the image is constant ({lower:g}) and has no range", "Leave it out")
    return lower, upper


def _with_range(values: torch.Tensor, like: torch.Tensor, bounds: dict[str, Any] | None) -> MetaTensor:
    """A float32 MetaTensor on the device of ``like``, with its meta data and the given range (None keeps it)."""
    values = values.to(torch.float32).to(like.device)
    if not isinstance(like, MetaTensor):
        result = MetaTensor(values)
    else:
        # Dictionaries are copied level by level where they change, so that the input image keeps its own.
        result = MetaTensor(values, meta=copy(like.meta), applied_operations=list(like.applied_operations))
    if bounds is not None:
        result.meta["frerec"] = {**result.meta.get("frerec", {}), "normalize": bounds}
    return result
