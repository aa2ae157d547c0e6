"""Soft rings: the radius of a spectrum cut into overlapping windows that mean the same at any image size."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch


def ring_windows(shape: tuple[int, ...], n_rings: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Soft rings over the half-plane of an image of size ``shape``, cached.

    Ring centres are evenly spaced from zero frequency to Nyquist and the rings are Gaussians of one spacing's
    standard deviation, both in fractions of Nyquist: the same ring means the same detail at any image size, and
    no ring is empty on a small one. Zero frequency is left out: the mean is not texture. Radii above 1 (corners)
    belong to the last ring.

    Args:
        shape: spatial size of the image.
        n_rings: number of rings, at least 2.
        device: where the result lives.

    Returns:
        float32 tensors (n_rings, F) and (F, n_rings), F = coefficients of the half-plane: weights that average
        over each ring, and weights that spread ring values over frequencies. Rows sum to 1, but to 0 at zero
        frequency.
    """
    # a cached tensor in one trace and a new one in the next would make the tracer see two different networks, and what
    # an exporter sees is no tensor at all
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return _windows(shape, n_rings, device)
    return _cached_windows(shape, n_rings, device)


def _half_plane(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Radius and Hermitian weight of each coefficient (:mod:`frerec.spectrum.bands`), two float32 columns (F, 1)."""
    # by numpy: what torch computes, an exporter would record
    axes = [*(np.fft.fftfreq(n) for n in shape[:-1]), np.fft.rfftfreq(shape[-1])]
    squared = sum(np.square(2 * axis) for axis in np.meshgrid(*axes, indexing="ij"))
    weights = np.full(squared.shape, 2.0, dtype=np.float32)
    weights[..., 0] = 1
    if shape[-1] % 2 == 0:
        weights[..., -1] = 1
    return np.sqrt(squared).astype(np.float32).reshape(-1, 1), weights.reshape(-1, 1)


def _windows(shape: tuple[int, ...], n_rings: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    r, weights = _half_plane(shape)
    r = np.minimum(r, 1).astype(np.float64)
    logits = -0.5 * ((r - np.linspace(0, 1, n_rings)) * (n_rings - 1)) ** 2
    is_texture = r > 0
    average = np.exp(logits - logits.max(0)) * weights * is_texture
    average /= np.maximum(average.sum(0), np.finfo(np.float64).tiny)
    spread = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) * is_texture
    # a cached tensor born in inference mode could not serve a later training step
    with torch.inference_mode(False):
        return (
            torch.from_numpy(np.ascontiguousarray(average.T, dtype=np.float32)).to(device),
            torch.from_numpy(spread.astype(np.float32)).to(device),
        )


_cached_windows = lru_cache(maxsize=16)(_windows)
