"""The noise that stage 1 mixes in: the same whenever the same image comes, between slices as like as they are."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from frerec.shr.replacement import HighBand
from frerec.spectrum.power import POWER_FLOOR

#: Largest correlation of the noise of neighbouring slices.
MOST_CORRELATED = 0.98


def seed_of(seed: int, fingerprint: int, item: int = 0) -> int:
    """Seed of one draw.

    Args:
        seed: of the whole run.
        fingerprint: of the image (:func:`frerec.shr.statistics.content_hash`).
        item: number of the draw for this image.

    Returns:
        An integer from 0 to 2**63 - 1.
    """
    digest = hashlib.blake2b(f"{seed}/{fingerprint}/{item}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def white_noise(shape: Sequence[int], seeds: Sequence[int], device: torch.device | str = "cpu") -> torch.Tensor:
    """Standard normal noise (len(seeds), *shape), each item from a seed of its own; drawn on the CPU everywhere."""
    noise = torch.empty(len(seeds), *shape)
    for item, seed in zip(noise, seeds, strict=True):
        torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed), out=item)
    return noise.to(device)


def correlate_slices(noise: torch.Tensor, x: torch.Tensor, band: HighBand) -> torch.Tensor:
    """Give noise from slice to slice the correlation that the high frequencies of a volume have.

    Independent noise in each slice would be seen as flicker where neighbouring slices show the same structure.

    Args:
        noise: white noise of the shape of ``x``, drawn for each slice.
        x: (B, C, *spatial), the slices of one volume in order.
        band: the high band of images of this size.

    Returns:
        White noise within each slice, float32 of the shape of ``x``; a first-order autoregression over slices.
    """
    if len(x) < 2:
        return noise
    high = band.spectrum(x)[..., band.inside]
    product = (high[1:] * high[:-1].conj()).real.sum()
    power = (high[1:].abs().square().sum() * high[:-1].abs().square().sum()).sqrt().clamp(min=POWER_FLOOR)
    kept = float((product / power).clamp(0, MOST_CORRELATED))
    correlated = noise.clone()
    for before, now in pairwise(correlated):
        now.mul_(math.sqrt(1 - kept**2)).add_(before, alpha=kept)
    return correlated
