"""Flicker: how much the fine detail of a volume changes from slice to slice."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from frerec.errors import FreRecError
from frerec.spectrum.bands import hermitian_weights, high_mask
from frerec.spectrum.fourier import periodic_spectrum


@dataclass(frozen=True)
class Flicker:
    """Flicker of a volume before and after a change, see :func:`flicker`.

    Attributes:
        before: flicker of the volume as it was.
        after: flicker of the changed volume.
    """

    before: float
    after: float

    @property
    def ratio(self) -> float:
        """How many times the flicker of before is left; 1 where nothing changed."""
        if self.after == self.before:
            return 1.0
        return self.after / self.before if self.before else float("inf")


def slice_energies(volume: torch.Tensor, mask_ratio: float) -> torch.Tensor:
    """High-band energy of every slice of a volume.

    Args:
        volume: real tensor (C, H, W, D), D the slices.
        mask_ratio: radius where the high band begins, in fractions of Nyquist, above 0 and below 1.

    Returns:
        float64 (C, D): log10 of the mean squared modulus of the slice's orthonormal Fourier transform over the high
        band of its periodic component. Slices without any detail (padding) are NaN.

    Raises:
        FreRecError: the tensor is not a volume.
        ConfigError: ``mask_ratio`` is out of range.
    """
    if volume.ndim != 4:
        raise FreRecError(f"a tensor of shape {tuple(volume.shape)} is no volume. Pass (C, H, W, D).")
    slices = volume.permute(0, 3, 1, 2).double()
    shape = tuple(slices.shape[-2:])
    weights = hermitian_weights(shape, volume.device).double() * high_mask(shape, mask_ratio, device=volume.device)
    power = periodic_spectrum(slices, 2).abs().square()
    energy = (power * weights).sum((-2, -1)) / weights.sum()
    # rounding of a constant slice is not detail
    empty = slices.amax((-2, -1)) == slices.amin((-2, -1))
    return energy.log10().masked_fill(empty, torch.nan)


def flicker(volume: torch.Tensor, mask_ratio: float) -> float:
    """Mean absolute difference of the high-band energy between neighbouring slices.

    Args:
        volume: as in :func:`slice_energies`.
        mask_ratio: as in :func:`slice_energies`.

    Returns:
        Flicker in decades of power; 0 for a volume of one slice. Pairs with an empty slice do not count.
    """
    steps = slice_energies(volume, mask_ratio).diff(dim=-1).abs()
    steps = steps[steps.isfinite()]
    return float(steps.mean()) if len(steps) else 0.0


def compare_flicker(before: torch.Tensor, after: torch.Tensor, mask_ratio: float) -> Flicker:
    """Flicker of a volume before and after recalibration.

    Args:
        before: (C, H, W, D).
        after: of the same shape.
        mask_ratio: as in :func:`slice_energies`.

    Raises:
        FreRecError: the shapes differ.
    """
    if before.shape != after.shape:
        raise FreRecError(
            f"shapes {tuple(before.shape)} and {tuple(after.shape)} differ. Compare a volume with its own result."
        )
    return Flicker(flicker(before, mask_ratio), flicker(after, mask_ratio))
