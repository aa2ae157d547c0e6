"""Map an image's physical values linearly to the nominal range [0, 1], and back.

The map is ``(value - lower) / (upper - lower)``, without clipping, so nothing is lost outside the range. Which range is
meant is told by ``rule``; what ``auto`` takes for which image stands in `frerec.io.ranges`.

The networks and banks that come with the bundle were made from 8 bit chest X-rays divided by 255. Such a picture is a
radiograph as displayed, so the comparable scale of a CR or DX file with 10 to 16 bits is its display window, not its
storable range. Padding pixels never count.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from copy import copy
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from frerec.errors import ConfigError, InputError
from frerec.io.ranges import RULES, IntensityRange, Ranges
from frerec.io.records import applied_to, note, source_of


class NormalizeRange(Transform):
    """Map physical values to [0, 1] and note the range, and on its scale what the file can store, in ``Applied``.

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
            The image as float32 MetaTensor.
        """
        chosen = self.choose(image)
        values = (_wide(image) - chosen.lower) / (chosen.upper - chosen.lower)
        result = _like(values, image)
        source = source_of(image)
        limits = (source.limits if source is not None else None) or (-math.inf, math.inf)
        low, high = ((end - chosen.lower) / (chosen.upper - chosen.lower) for end in limits)
        # Slices of a volume may have scales of their own: what is in the image can be stored, whatever one slice says.
        storable = min(low, float(values.min())), max(high, float(values.max()))
        step = source.step / (chosen.upper - chosen.lower) if source is not None else 0.0
        note(result, normalize=chosen, storable=storable, step=step)
        return result

    def choose(self, image: torch.Tensor) -> IntensityRange:
        """The physical values that become 0 and 1, with the rule they follow and the reason for it.

        Args:
            image: loaded by ``LoadMedicalImage``; any other tensor is measured itself.
        """
        if self.lower is not None and self.upper is not None:
            return IntensityRange(float(self.lower), float(self.upper), "given", "bounds given by the user")
        source = source_of(image)
        if source is not None:
            return source.ranges.choose(self.rule)
        name = "measured" if self.rule == "measured" else "robust"
        try:
            ends = Ranges(Path(), _wide(image).numpy())[name]
        except InputError as error:
            raise ConfigError("rule", name, "the image is constant and has no range", "Leave it out") from error
        return IntensityRange(*ends, name, "an image without a file")


class RestoreRange(Transform):
    """Inverse of ``NormalizeRange``.

    The map back is computed in double precision. What it cannot give back to the last bit of float32, the writers
    recognise as unchanged (``frerec.io.restoring.changed_voxels``).
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
        bounds = applied_to(reference).normalize
        if bounds is None:
            remedy = "Apply NormalizeRanged to the reference image first"
            raise ConfigError("reference_key", None, "the image carries no normalised range", remedy)
        return _like(_wide(image) * (bounds.upper - bounds.lower) + bounds.lower, reference)


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

    def settings(self) -> dict[str, Any]:
        """What it applies, for `frerec.io.provenance.run_settings`."""
        given = self.normalize.lower, self.normalize.upper
        return {"intensity_range": self.normalize.rule if given == (None, None) else list(given)}

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


def _like(values: torch.Tensor, like: torch.Tensor) -> MetaTensor:
    """A float32 MetaTensor on the device of ``like``, with its meta data."""
    values = values.to(torch.float32).to(like.device)
    if not isinstance(like, MetaTensor):
        return MetaTensor(values)
    return MetaTensor(values, meta=copy(like.meta), applied_operations=list(like.applied_operations))
