from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.signal import windows

from frerec.audit.radial import HIGHEST, LOWEST, RINGS, radial_features


@pytest.mark.parametrize("shape", [(96, 96), (65, 90)])
@pytest.mark.parametrize("window", ["plain", "hann"])
def test_features_are_ring_means_of_the_power(shape: tuple[int, int], window: str) -> None:
    image = np.random.default_rng(0).random((2, *shape))
    found = radial_features(image, window)
    x = image
    if window == "hann":
        taper = np.outer(
            *(windows.hann(n, sym=False) / np.sqrt(np.mean(windows.hann(n, sym=False) ** 2)) for n in shape)
        )
        x = (image - image.mean((1, 2), keepdims=True)) * taper
    power = np.abs(np.fft.fft2(x, norm="ortho")) ** 2
    frequency = np.hypot(*np.meshgrid(*(2 * np.fft.fftfreq(n) for n in shape), indexing="ij"))
    edges = np.linspace(LOWEST, HIGHEST, RINGS + 1)
    seen = 0
    for ring, (low, high) in enumerate(pairwise(edges)):
        inside = (frequency >= low + 1e-9) & (frequency < high - 1e-9)
        # a coefficient on the very edge may fall to either side
        if inside.sum() and not np.any(np.abs(frequency[..., None] - [low, high]) < 1e-9):
            assert found[:, ring] == pytest.approx(np.log10(power[:, inside].mean(1)), abs=1e-4)
            seen += 1
    assert seen > RINGS // 2
    assert np.isfinite(found).all()


def test_small_images_have_all_rings_too() -> None:
    found = radial_features(np.random.default_rng(0).random((1, 16, 16)))
    assert found.shape == (1, RINGS)
    assert np.isfinite(found).all()


def test_an_unknown_window_is_refused() -> None:
    with pytest.raises(ValueError, match="plain or hann"):
        radial_features(np.zeros((1, 8, 8)), "periodic")
