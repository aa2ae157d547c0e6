"""Radial spectra for the detectors: plain Fourier transform or under a Hann window, apart from those of the method.

A judge must not look through the eyes of what it judges: transform, window, rings and their range are chosen here and
share neither code nor settings with the replacement of the high band.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: Rings, and the frequencies (fractions of Nyquist) they cover. Below lie pose and anatomy rather than texture.
RINGS, LOWEST, HIGHEST = 80, 0.1, 2**0.5
#: Far below the power that rounding to 8 bit leaves (1.3e-6).
FLOOR = 1e-9


def radial_features(image: NDArray[np.floating], window: str = "plain") -> NDArray[np.float32]:
    """Log power of an image on rings.

    Args:
        image: (C, H, W) on a nominal [0, 1] range.
        window: ``plain`` for the discrete Fourier transform as it is, ``hann`` to take the mean away and weight with a
            Hann window of unit mean square first.

    Returns:
        float32 (C, RINGS), log10 of the mean squared modulus of the orthonormal transform. A ring without a
        coefficient (small images) is interpolated from its neighbours.

    Raises:
        ValueError: another window.
    """
    if window not in ("plain", "hann"):
        raise ValueError(f"window={window!r}: use plain or hann")
    x = np.asarray(image, dtype=np.float64)
    height, width = x.shape[-2:]
    if window == "hann":
        x = (x - x.mean((-2, -1), keepdims=True)) * _hann(height)[:, None] * _hann(width)
    power = np.abs(np.fft.fft2(x)) ** 2 / (height * width)
    ring, count = _rings(height, width)
    inside = ring >= 0
    sums = np.stack([np.bincount(ring[inside], plane[inside], minlength=RINGS) for plane in power])
    centres, known = np.arange(RINGS), count > 0
    levels = np.log10(sums[:, known] / count[known] + FLOOR)
    return np.stack([np.interp(centres, centres[known], level) for level in levels]).astype(np.float32)


@lru_cache(maxsize=32)
def _rings(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ring of every coefficient, -1 outside of the range, and the number of coefficients of each ring."""
    frequency = np.hypot(2 * np.fft.fftfreq(height)[:, None], 2 * np.fft.fftfreq(width))
    ring = np.floor((frequency - LOWEST) / (HIGHEST - LOWEST) * RINGS).astype(np.int64)
    ring = np.where(ring < 0, -1, np.minimum(ring, RINGS - 1))
    return ring, np.bincount(ring[ring >= 0], minlength=RINGS)


@lru_cache(maxsize=32)
def _hann(n: int) -> NDArray[np.float64]:
    window = np.sin(np.pi * np.arange(n) / n) ** 2 if n > 1 else np.ones(1)
    return window / np.sqrt(np.mean(window**2))
