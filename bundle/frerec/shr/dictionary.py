"""Stage 1 as dictionary transforms, for configs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from os import PathLike
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from frerec.io.records import applied_to
from frerec.shr.array import ImposeProfile, StatisticalHighFrequencyReplacement
from frerec.shr.bank.reference import ReferenceBank


class StatisticalHighFrequencyReplacementd(MapTransform):
    """Dictionary form of :class:`StatisticalHighFrequencyReplacement`.

    Args:
        keys: keys of images (C, *spatial) in [0, 1].
        bank: the reference bank, or its path.
        mask_ratio: see the array form, also for the arguments that follow.
        top_k: as there.
        bands: as there.
        strength: as there.
        mode: as there.
        method: as there.
        seed: as there.
        transition: as there.
        max_gain: as there.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self,
        keys: KeysCollection,
        bank: ReferenceBank | str | PathLike[str],
        mask_ratio: float = 0.1,
        top_k: int = 5,
        bands: int | None = None,
        strength: float = 1.0,
        mode: str = "replace",
        method: str = "descriptor",
        seed: int = 0,
        transition: float = 0.1,
        max_gain: float = 2.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.replace = StatisticalHighFrequencyReplacement(
            bank, mask_ratio, top_k, bands, strength, mode, method, seed, transition, max_gain
        )

    def settings(self) -> dict[str, Any]:
        """Everything that decides the result beside the image, by config id."""
        return self.replace.settings()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the images replaced and their meta completed."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.replace(result[key])
        return result


class ImposeProfiled(MapTransform):
    """Dictionary form of :class:`ImposeProfile`; profile and limits are read from the meta of another entry.

    Args:
        keys: keys of stage 2's outputs (C, *spatial).
        reference_key: entry for which the profile was drawn: stage 2's input. What its file can store gives limits and
            step.
        mask_ratio: see the array form, also for the arguments that follow.
        bands: as there.
        spatial_dims: as there.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self,
        keys: KeysCollection,
        reference_key: str = "image",
        mask_ratio: float = 0.1,
        bands: int | None = None,
        spatial_dims: int = 2,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference_key = reference_key
        self.impose = ImposeProfile(mask_ratio, bands, spatial_dims)

    def settings(self) -> dict[str, Any]:
        """That the profile is imposed; with which one, the replacement before it decides."""
        return {"impose_profile": True}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the profile imposed on ``keys``."""
        result = dict(data)
        drawn = applied_to(result[self.reference_key])
        for key in self.key_iterator(result):
            result[key] = self.impose(result[key], drawn.profile, drawn.spacing, drawn.storable, drawn.step)
        return result
