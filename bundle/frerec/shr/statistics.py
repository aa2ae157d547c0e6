"""What the bank keeps of an image: statistics of its spectrum on each ring, and a fingerprint.

Nothing here holds a phase, so no image can be rebuilt from it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch

from frerec.errors import ConfigError, FreRecError
from frerec.spectrum.bands import hermitian_weights, ring_index, ring_mean
from frerec.spectrum.fourier import periodic_spectrum
from frerec.spectrum.power import POWER_FLOOR, ring_frequencies

#: Order of the last axis of ring statistics.
STATISTICS = ("mean_amplitude", "mean_power", "mean_log10_amplitude", "mean_squared_log10_amplitude")


def slices_as_batch(image: torch.Tensor, spatial_dims: int) -> torch.Tensor:
    """View an image as a batch of ``spatial_dims``-dimensional ones.

    Args:
        image: (C, H, W) or (C, H, W, D).
        spatial_dims: what the bank works on: 2 or 3.

    Returns:
        (B, C, *spatial): B is 1, or D where a volume meets a 2-D bank (its slices).

    Raises:
        FreRecError: the image has another number of axes.
    """
    if image.ndim == spatial_dims + 1:
        return image.unsqueeze(0)
    if image.ndim == 4 and spatial_dims == 2:
        return image.permute(3, 0, 1, 2)
    raise FreRecError(
        f"an image of shape {tuple(image.shape)} does not fit spatial_dims={spatial_dims}. "
        f"Pass {'(C, H, W), or a volume (C, H, W, D)' if spatial_dims == 2 else '(C, H, W, D)'}."
    )


def batch_as_slices(batch: torch.Tensor, ndim: int) -> torch.Tensor:
    """Inverse of :func:`slices_as_batch` for an image of ``ndim`` axes."""
    return batch[0] if batch.ndim == ndim + 1 else batch.permute(1, 2, 3, 0)


def ring_statistics(
    x: torch.Tensor, spatial_dims: int, n_rings: int, spacing: Sequence[float] | None = None
) -> torch.Tensor:
    """Statistics of the Fourier amplitude on each ring of the periodic component of images.

    The transform is orthonormal; half-plane coefficients are weighted so that the figures are those of the full
    spectrum. From these four any coarser band's mean and standard deviation, of amplitude or of log amplitude,
    can be had without the image (:func:`aggregate_bands`).

    Args:
        x: (..., C, *spatial), nominal range [0, 1].
        spatial_dims: 2 or 3.
        n_rings: number of rings from radius 0 to sqrt(spatial_dims).
        spacing: pixel size along each axis, as in :func:`frerec.spectrum.bands.radius`.

    Returns:
        float32 (..., C, n_rings, 4) in the order of :data:`STATISTICS`: mean of |F|, of |F|^2, of log10|F| and of
        (log10|F|)^2. NaN on rings without a coefficient.
    """
    shape = x.shape[-spatial_dims:]
    # A float64 transform costs little here and keeps the weakest rings clear of rounding noise.
    amplitude = periodic_spectrum(x.double(), spatial_dims).abs()
    log = amplitude.clamp(min=math.sqrt(POWER_FLOOR)).log10()
    values = torch.stack([amplitude, amplitude.square(), log, log.square()], dim=-spatial_dims - 1)
    index = ring_index(shape, n_rings, spacing, x.device)
    return ring_mean(values, index, hermitian_weights(shape, x.device), n_rings).transpose(-1, -2).float()


def ring_counts(shape: Sequence[int], n_rings: int, spacing: Sequence[float] | None = None) -> torch.Tensor:
    """Number of full-plane coefficients on each ring, float64 (n_rings,)."""
    index = ring_index(shape, n_rings, spacing).reshape(-1)
    weights = hermitian_weights(shape).reshape(-1).double()
    return torch.zeros(n_rings, dtype=torch.float64).index_add_(0, index, weights)


def band_of_ring(n_rings: int, spatial_dims: int, mask_ratio: float, bands: int) -> torch.Tensor:
    """The band each ring belongs to: -1 below ``mask_ratio``, else 0 to ``bands - 1``; int64 (n_rings,).

    The high frequencies, radius ``mask_ratio`` to the corners of the spectrum, are cut into ``bands`` bands of
    equal width; a ring belongs to the band that holds its centre.

    Raises:
        ConfigError: ``mask_ratio`` is out of range, or there are more bands than rings above it.
    """
    if not 0 < mask_ratio < 1:
        raise ConfigError(
            "mask_ratio", mask_ratio, "the high band begins between zero frequency and Nyquist",
            "Use a number above 0 and below 1; the paper uses 0.5",
        )  # fmt: skip
    end = math.sqrt(spatial_dims)
    position = (ring_frequencies(n_rings, spatial_dims).double() - mask_ratio) / (end - mask_ratio)
    band = torch.where(position < 0, -1, (position * max(bands, 1)).floor().long())
    if bands < 1 or len(torch.unique(band[band >= 0])) < bands:
        raise ConfigError(
            "bands", bands, f"{int((band >= 0).sum())} rings lie above mask_ratio={mask_ratio} and each band needs one",
            "Use fewer bands, or a bank with more rings",
        )  # fmt: skip
    return band


def aggregate_bands(
    statistics: torch.Tensor,
    counts: torch.Tensor,
    spatial_dims: int,
    mask_ratio: float,
    bands: int,
    log: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the amplitude over bands of the high frequencies (:func:`band_of_ring`).

    Args:
        statistics: (..., R, 4) from :func:`ring_statistics`.
        counts: (R,) coefficients on each ring, from :func:`ring_counts`.
        spatial_dims: 2 or 3.
        mask_ratio: radius where the high band begins, in fractions of Nyquist, above 0 and below 1.
        bands: number of bands, 1 for the paper's single high band.
        log: statistics of log10|F| instead of |F|.

    Returns:
        ``(mean, std)``, each float32 (..., bands); the standard deviation is that of all coefficients of the band
        (divisor n).

    Raises:
        ConfigError: ``mask_ratio`` or ``bands`` is out of range.
    """
    band = band_of_ring(statistics.shape[-2], spatial_dims, mask_ratio, bands)
    weights = torch.zeros(len(band), bands, dtype=torch.float64)
    weights[band >= 0, band[band >= 0]] = counts[band >= 0].double()
    weights /= weights.sum(0)
    first, second = statistics[..., slice(2, 4) if log else slice(0, 2)].nan_to_num().double().unbind(-1)
    mean, mean_square = first @ weights, second @ weights
    return mean.float(), (mean_square - mean.square()).clamp(min=0).sqrt().float()


def content_hash(image: torch.Tensor) -> int:
    """64-bit fingerprint of an image, so that it can be recognised as its own reference and left out.

    Args:
        image: any real tensor, nominal range [0, 1].

    Returns:
        BLAKE2b (8 bytes) of the shape and of the values rounded to 16 bit, as a signed integer. The rounding
        makes it indifferent to float rounding of what were 8 or 16 bit values divided by their range.
    """
    state = hashlib.blake2b(str(tuple(image.shape)).encode(), digest_size=8)
    # in parts that stay in the processor's cache
    for part in image.detach().cpu().flatten().split(1 << 15):
        rounded = part.double().clamp_(0, 1).mul_(65535).round_().to(torch.int32)
        state.update(rounded.numpy().astype("<u2").data)
    return int.from_bytes(state.digest(), "little", signed=True)
