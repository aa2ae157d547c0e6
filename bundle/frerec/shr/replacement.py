"""Replacing high frequencies: the mathematics of stage 1, and imposing a spectral profile afterwards.

All functions take one *object*: ``x`` is (B, C, *spatial) where B is 1 for an image or the number of slices of a
volume whose statistics are drawn once. Ring powers are those of the whole object, so slices keep the strength they
have relative to each other and nothing flickers. Everything happens on the periodic component
(:func:`frerec.spectrum.fourier.periodic_plus_smooth`); the smooth remainder is added back untouched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch

from frerec.errors import ConfigError
from frerec.spectrum.bands import default_rings, hermitian_weights, radius
from frerec.spectrum.fourier import irfftn, periodic_plus_smooth, rfftn
from frerec.spectrum.power import POWER_FLOOR, resample_profile


@lru_cache(maxsize=32)
def _layout(
    shape: tuple[int, ...], mask_ratio: float, bands: int | None, spacing: tuple[float, ...] | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Positions of the high coefficients in the flat half-plane, their band, weight and radius; the number of bands."""
    if not 0 < mask_ratio < 1:
        raise ConfigError(
            "mask_ratio", mask_ratio, "the high band begins between zero frequency and Nyquist",
            "Use a number above 0 and below 1; the paper uses 0.5",
        )  # fmt: skip
    if bands is not None and bands < 1:
        raise ConfigError("bands", bands, "there is at least one band", "Use 1 or more, or null for the finest")
    rho = radius(shape, spacing).flatten()
    high = (rho >= mask_ratio).nonzero().squeeze(1)
    end = math.sqrt(len(shape))
    if bands is None:  # the rings of a radial power spectrum, the first one cut by the mask
        raw = (rho[high].double() * (default_rings(shape) / end) + 1e-6).floor().long()
    else:
        raw = ((rho[high].double() - mask_ratio) * (bands / (end - mask_ratio)) + 1e-6).floor().long()
        raw.clamp_(max=bands - 1)
    # small images leave some rings without a coefficient: number only those that have one
    used, band = torch.unique(raw, return_inverse=True)
    weights = hermitian_weights(shape).flatten()[high].double()
    return high, band, weights, rho[high], len(used)


class HighBand:
    """The high band of images of one size: splits off, measures and joins its coefficients.

    Args:
        shape: spatial size.
        mask_ratio: radius where the high band begins, in fractions of Nyquist, above 0 and below 1.
        bands: number of rings of equal width from there to the corners; None for one frequency step a ring.
        spacing: pixel size along each axis, as in :func:`frerec.spectrum.bands.radius`.
        device: where the images are.

    Raises:
        ConfigError: ``mask_ratio`` or ``bands`` is out of range.
    """

    def __init__(
        self,
        shape: Sequence[int],
        mask_ratio: float,
        bands: int | None = None,
        spacing: Sequence[float] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape = tuple(int(n) for n in shape)
        steps = None if spacing is None else tuple(float(s) for s in spacing)
        high, band, weights, rho, self.count = _layout(self.shape, mask_ratio, bands, steps)
        self.high, self.band, self.weights = high.to(device), band.to(device), weights.to(device)
        self.rho = rho.to(device)
        self.total = torch.zeros(self.count, dtype=torch.float64, device=device)
        self.total.index_add_(0, self.band, self.weights)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Weighted mean over each band of real values (..., K) at the high coefficients: float64 (..., bands)."""
        sums = torch.zeros(*values.shape[:-1], self.count, dtype=torch.float64, device=values.device)
        return sums.index_add(-1, self.band, values.double() * self.weights) / self.total

    def power(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Mean squared modulus of each band, float64 (..., bands)."""
        return self.mean(coefficients.real.double().square() + coefficients.imag.double().square())

    def spread(self, per_band: torch.Tensor) -> torch.Tensor:
        """Values per band (..., bands) at every high coefficient, float32 (..., K)."""
        return per_band.float()[..., self.band]

    def target_power(self, profile: torch.Tensor) -> torch.Tensor:
        """Power each band has under a radial profile.

        Args:
            profile: log10 mean power (C, R) on rings of equal width over radius 0 to sqrt(ndim), of an image of any
                size: an orthonormal transform makes the power of a texture independent of the size.

        Returns:
            float64 (C, bands).
        """
        n = profile.shape[-1]
        centres = (torch.arange(n, dtype=torch.float64) + 0.5) * (math.sqrt(len(self.shape)) / n)
        at = resample_profile(profile.double().cpu(), centres, self.rho.double().cpu())
        return self.mean((10**at).to(self.rho.device))

    def split(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the flat half-plane spectrum, its high coefficients (..., K), and the smooth component of ``x``."""
        periodic, smooth = periodic_plus_smooth(x, len(self.shape))
        spectrum = rfftn(periodic, len(self.shape)).flatten(-len(self.shape))
        return spectrum, spectrum[..., self.high], smooth

    def join(self, spectrum: torch.Tensor, coefficients: torch.Tensor, smooth: torch.Tensor) -> torch.Tensor:
        """Inverse of :meth:`split` with new high coefficients; real, because what is put in is Hermitian."""
        spectrum = spectrum.index_copy(-1, self.high, coefficients.to(spectrum.dtype))
        half = (*self.shape[:-1], self.shape[-1] // 2 + 1)
        return irfftn(spectrum.unflatten(-1, half), self.shape) + smooth


def _unit(power: torch.Tensor) -> torch.Tensor:
    """Factor that brings a band of this power to power 1; 0 for a band with nothing but rounding in it."""
    return torch.where(power > POWER_FLOOR, power.clamp(min=POWER_FLOOR).rsqrt(), 0.0)


def replace_high_frequencies(
    x: torch.Tensor, profile: torch.Tensor, band: HighBand, strength: float, noise: torch.Tensor
) -> torch.Tensor:
    """Mix the high frequencies with noise and give them the power of a drawn profile, exactly.

    Per band the object's own coefficients and the noise's are brought to power 1, mixed with weights
    sqrt(1 - strength^2) and ``strength``, brought to power 1 again and scaled to the profile. Noise enters as the
    transform of a real white field, so it is Hermitian and a real image comes back real. This is our reading of
    step 4 of the paper's stage 1: rescaling amplitudes alone (:func:`rescale_amplitudes`) leaves almost nothing
    for stage 2 to restore.

    Args:
        x: (B, C, *spatial), one object, nominal range [0, 1].
        profile: (C, R) drawn log10 power, as in :meth:`HighBand.target_power`.
        band: the high band of images of this size.
        strength: share of noise, 0 (phases kept, powers imposed) to 1 (noise only).
        noise: real white noise of the shape of ``x``.

    Returns:
        float32 tensor of the shape of ``x``.
    """
    spectrum, own, smooth = band.split(x)
    own_power = band.power(own)
    drawn = band.split(noise)[1]
    kept = math.sqrt(1 - strength**2) * own * band.spread(_unit(own_power))
    mixed = kept + strength * drawn * band.spread(_unit(band.power(drawn)))
    # each slice keeps its share of the object's power; a band empty everywhere is filled evenly
    object_power = own_power.mean(0, keepdim=True)
    share = torch.where(object_power > POWER_FLOOR, own_power / object_power.clamp(min=POWER_FLOOR), 1.0)
    gain = (share * band.target_power(profile)).sqrt() * _unit(band.power(mixed))
    return band.join(spectrum, mixed * band.spread(gain), smooth)


def impose_profile(x: torch.Tensor, profile: torch.Tensor, band: HighBand) -> torch.Tensor:
    """Scale each band of the high frequencies so that the object's power is exactly that of a profile; phases stay.

    Args:
        x: (B, C, *spatial), one object.
        profile: (C, R) log10 power, as in :meth:`HighBand.target_power`.
        band: the high band of images of this size.

    Returns:
        float32 tensor of the shape of ``x``; a band that holds nothing but rounding stays as it is.
    """
    spectrum, own, smooth = band.split(x)
    power = band.power(own).mean(0, keepdim=True)
    factor = _unit(power)
    gain = torch.where(factor > 0, band.target_power(profile).sqrt() * factor, 1.0)
    return band.join(spectrum, own * band.spread(gain), smooth)


def rescale_amplitudes(
    x: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, band: HighBand, strength: float = 1.0, log: bool = False
) -> torch.Tensor:
    """The paper's step 4 read literally, on amplitudes: |F| <- std (|F| - mu) / sigma + mean, phases kept.

    Args:
        x: (B, C, *spatial), one object, nominal range [0, 1].
        mean: (C, bands) drawn mean amplitude (log10 amplitude with ``log``).
        std: (C, bands) drawn standard deviation of the same.
        band: the high band of images of this size, with as many bands.
        strength: share of the rescaled coefficients, 0 to 1, the rest is the object's own.
        log: recalibrate log10 amplitudes, which cannot turn negative; without it negative results become 0.

    Returns:
        float32 tensor of the shape of ``x``.
    """
    spectrum, own, smooth = band.split(x)
    amplitude = own.abs().double().clamp(min=math.sqrt(POWER_FLOOR))
    value = amplitude.log10() if log else amplitude
    mu = band.mean(value).mean(0, keepdim=True)
    sigma = (band.mean(value.square()).mean(0, keepdim=True) - mu.square()).clamp(min=1e-20).sqrt()
    new = std[:, band.band] * (value - mu[..., band.band]) / sigma[..., band.band] + mean[:, band.band]
    new = 10**new if log else new.clamp(min=0)
    factor = 1 + strength * (new / amplitude - 1)
    return band.join(spectrum, own * factor.float(), smooth)


def white_noise(shape: Sequence[int], seeds: Sequence[int], device: torch.device | str = "cpu") -> torch.Tensor:
    """Standard normal noise (len(seeds), *shape), each item from a seed of its own; drawn on the CPU everywhere."""
    items = [torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(items).to(device)
