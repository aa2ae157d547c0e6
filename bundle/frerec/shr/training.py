"""Training pairs for stage 2: a real image with replaced high frequencies, and the real image itself."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from frerec.shr.array import StatisticalHighFrequencyReplacement


class RandStatisticalHighFrequencyReplacementd(RandomizableTransform, MapTransform):
    """Replace the high frequencies with a strength and a mask ratio drawn anew each time.

    So one network serves every strength and mask ratio. An image never meets its own statistics, nor those of the
    same patient where the bank knows patients.

    Source: paper, stage 2: input SHR(x), target x, both real.

    Args:
        keys: keys of real images (C, *spatial) in [0, 1].
        replacement: the array transform.
        strengths: lowest and highest strength, drawn uniformly.
        mask_ratios: mask ratios to choose from.
        target_key: key the untouched image is copied to.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self,
        keys: KeysCollection,
        replacement: StatisticalHighFrequencyReplacement,
        strengths: Sequence[float] = (0.05, 1.0),
        mask_ratios: Sequence[float] = (0.1, 0.15, 0.2, 0.25, 0.35, 0.5),
        target_key: str = "label",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self)
        self.replacement, self.target_key = replacement, target_key
        self.lowest, self.highest = strengths
        self.mask_ratios = tuple(mask_ratios)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the image replaced and the untouched one under ``target_key``."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[self.target_key] = result[key]
            result[key] = self.replacement(
                result[key],
                strength=self.R.uniform(self.lowest, self.highest),
                mask_ratio=self.mask_ratios[self.R.randint(len(self.mask_ratios))],
                draw=int(self.R.randint(1, 2**31)),
            )
        return result
