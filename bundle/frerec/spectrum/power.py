"""Radial power spectra and the distance between two sets of them."""

from __future__ import annotations

import torch

from frerec.errors import ConfigError
from frerec.spectrum.bands import default_rings, hermitian_weights, ring_edges, ring_index, ring_mean
from frerec.spectrum.fourier import periodic_spectrum, rfftn, spatial_axes

# Power below this is rounding of float32 images in [0, 1], not signal.
POWER_FLOOR = 1e-14


def ring_frequencies(n_rings: int, ndim: int) -> torch.Tensor:
    """Centre of each ring as a radius in fractions of Nyquist, float32 tensor (n_rings,)."""
    edges = ring_edges(n_rings, ndim)
    return ((edges[1:] + edges[:-1]) / 2).float()


def radial_power(
    x: torch.Tensor,
    spatial_dims: int,
    n_rings: int | None = None,
    window: str = "periodic",
    spacing: tuple[float, ...] | None = None,
) -> torch.Tensor:
    """Radial power spectrum of images.

    Args:
        x: real tensor (..., C, *spatial).
        spatial_dims: 2 or 3.
        n_rings: number of rings from radius 0 to sqrt(spatial_dims); None for one frequency step a ring.
        window: what is done about the border before the transform. ``periodic`` takes the periodic component
            (:func:`frerec.spectrum.fourier.periodic_spectrum`), ``hann`` subtracts the mean and multiplies a
            Hann window of unit mean square, ``none`` does nothing.
        spacing: pixel size along each axis, as in :func:`frerec.spectrum.bands.radius`.

    Returns:
        float tensor (..., C, n_rings): log10 of the mean squared modulus of the orthonormal transform on each
        ring. A ring without a coefficient takes the value interpolated from its neighbours.

    Raises:
        ConfigError: an unknown ``window``.
    """
    axes = spatial_axes(x, spatial_dims)
    shape = x.shape[-spatial_dims:]
    if window == "hann":
        x = x.float() - x.float().mean(axes, keepdim=True)
        for i, n in enumerate(shape):
            taper = torch.hann_window(n + 1, periodic=False, device=x.device)[:n] if n > 1 else torch.ones(1).to(x)
            taper = taper / taper.square().mean().sqrt()
            x = x * taper.view([-1 if j == i else 1 for j in range(spatial_dims)])
    elif window not in ("periodic", "none"):
        raise ConfigError("window", window, "unknown border treatment", "Use periodic, hann or none")
    n_rings = default_rings(shape) if n_rings is None else n_rings
    transform = periodic_spectrum if window == "periodic" else rfftn
    power = transform(x, spatial_dims).abs().square()
    index = ring_index(shape, n_rings, spacing, x.device)
    mean = ring_mean(power, index, hermitian_weights(shape, x.device), n_rings)
    return fill_empty(mean.clamp(min=POWER_FLOOR).log10())


def fill_empty(profile: torch.Tensor) -> torch.Tensor:
    """Replace NaN rings by linear interpolation along the last axis, the ends by the nearest ring."""
    empty = profile.isnan().reshape(-1, profile.shape[-1]).any(0)
    if not empty.any():
        return profile
    known = (~empty).nonzero().squeeze(1)
    return resample_profile(profile[..., known], known.to(profile.dtype), torch.arange(len(empty)).to(profile))


def resample_profile(profile: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Linear interpolation of ``profile`` (..., R) known at ``source`` (R,), increasing, to ``target`` (T,)."""
    if len(source) == 1:
        return profile.expand(*profile.shape[:-1], len(target)).clone()
    right = torch.searchsorted(source.contiguous(), target.contiguous()).clamp(1, len(source) - 1)
    share = ((target - source[right - 1]) / (source[right] - source[right - 1])).clamp(0, 1)
    return profile[..., right - 1] * (1 - share) + profile[..., right] * share


def spectral_gap(
    log_a: torch.Tensor,
    log_b: torch.Tensor,
    frequencies: torch.Tensor,
    band: tuple[float, float] = (0.0, float("inf")),
) -> float:
    """Spectral gap between two sets: mean over rings of the absolute difference of mean log10 radial power.

    Args:
        log_a: (N, C, R) log10 radial power of one set.
        log_b: (M, C, R) of the other.
        frequencies: (R,) ring centres.
        band: rings with ``band[0] <= frequency < band[1]`` count.

    Returns:
        The gap in decades of power; 0 for equal means.

    Raises:
        ConfigError: no ring lies in ``band``.
    """
    chosen = (frequencies >= band[0]) & (frequencies < band[1])
    if not chosen.any():
        raise ConfigError("band", band, "no ring lies in it", "Use bounds between 0 and the largest ring frequency")
    difference = log_a.double().mean(0) - log_b.double().mean(0)
    return float(difference[:, chosen].abs().mean())
