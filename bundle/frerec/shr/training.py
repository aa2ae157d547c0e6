"""Training pairs for stage 2: a real image with replaced high frequencies, and the real image itself."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from frerec.shr.array import StatisticalHighFrequencyReplacement
from frerec.spectrum.power import radial_power


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
        transitions: lowest and highest width of the rise of the noise, drawn more often near the lowest.
        own_profile: impose the profile of the target instead of a drawn one. A network then learns to keep the power it
            is given; otherwise it learns to guess the right one.
        full_share: probability of the highest strength, beside the uniform draws.
        plain_share: probability that strength, mask ratio and transition are those of ``replacement``, none drawn.
        target_key: key of the target; where ``data`` has none, the untouched image is copied to it.
        condition_key: key under which (mask ratio, transition, strength) are put; None for nowhere.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self,
        keys: KeysCollection,
        replacement: StatisticalHighFrequencyReplacement,
        strengths: Sequence[float] = (0.3, 1.0),
        mask_ratios: Sequence[float] = (0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3),
        transitions: Sequence[float] = (0.02, 0.9),
        own_profile: bool = False,
        full_share: float = 0.6,
        plain_share: float = 0.0,
        target_key: str = "label",
        condition_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self)
        self.replacement, self.target_key = replacement, target_key
        self.lowest, self.highest = strengths
        self.mask_ratios, self.transitions = tuple(mask_ratios), tuple(transitions)
        self.own_profile, self.condition_key = own_profile, condition_key
        self.full_share, self.plain_share = full_share, plain_share

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the image replaced and the untouched one under ``target_key``."""
        result = dict(data)
        for key in self.key_iterator(result):
            target = result.setdefault(self.target_key, result[key])
            narrowest, widest = self.transitions
            full = self.R.uniform() < self.full_share
            strength = self.highest if full else self.R.uniform(self.lowest, self.highest)
            mask_ratio = self.mask_ratios[self.R.randint(len(self.mask_ratios))]
            transition = narrowest + (widest - narrowest) * self.R.uniform() ** 2
            if self.plain_share and self.R.uniform() < self.plain_share:
                plain = self.replacement
                strength, mask_ratio, transition = plain.strength, plain.mask_ratio, plain.transition
            result[key] = self.replacement(
                result[key],
                strength=strength,
                mask_ratio=mask_ratio,
                transition=transition,
                draw=int(self.R.randint(1, 2**31)),
                profile=radial_power(torch.as_tensor(target), target.ndim - 1) if self.own_profile else None,
            )
            if self.condition_key is not None:
                result[self.condition_key] = torch.tensor([mask_ratio, transition, strength])
        return result
