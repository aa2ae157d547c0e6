"""Radial power spectra against scipy and known signals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch

from frerec.errors import ConfigError
from frerec.spectrum import radial_power, ring_frequencies, spectral_gap
from frerec.spectrum.power import resample_profile


def test_equals_scipy_on_a_plain_transform() -> None:
    x = torch.rand(2, 1, 33, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rings = 12
    fy, fx = np.meshgrid(scipy.fft.fftfreq(33) * 2, scipy.fft.fftfreq(48) * 2, indexing="ij")
    ring = np.minimum(np.hypot(fy, fx) / np.sqrt(2) * rings + 1e-6, rings - 1).astype(int)
    power = np.abs(scipy.fft.fft2(x[:, 0].numpy(), norm="ortho")) ** 2
    expected = np.log10([[p[ring == r].mean() for r in range(rings)] for p in power])
    np.testing.assert_allclose(radial_power(x, 2, rings, window="none")[:, 0].numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("window", ["periodic", "hann", "none"])
def test_white_noise_is_flat_and_has_its_variance(window: str) -> None:
    noise = torch.randn(64, 1, 32, 32, generator=torch.Generator().manual_seed(3)) * 0.1
    mean = (10 ** radial_power(noise, 2, 8, window=window)).mean(0)[0, 1:]
    assert torch.allclose(mean, torch.full_like(mean, 0.01), rtol=0.12)


def test_size_does_not_change_the_power_of_a_texture() -> None:
    generator = torch.Generator().manual_seed(4)
    small, large = (torch.randn(32, 1, n, n, generator=generator) for n in (32, 96))
    a, b = ((10 ** radial_power(x, 2, 6)).mean(0) for x in (small, large))
    assert torch.allclose(a[:, 1:], b[:, 1:], rtol=0.1)


def test_a_ring_without_frequency_is_interpolated() -> None:
    profile = radial_power(torch.rand(1, 1, 8, 8), 2, 60)
    assert torch.isfinite(profile).all()


def test_resampling_is_numpys_interpolation() -> None:
    known, at = np.array([0.1, 0.3, 0.9]), np.linspace(0, 1, 21)
    values = np.array([[1.0, -2.0, 4.0], [0.0, 5.0, 5.0]])
    got = resample_profile(torch.from_numpy(values), torch.from_numpy(known), torch.from_numpy(at))
    np.testing.assert_allclose(got.numpy(), [np.interp(at, known, v) for v in values], atol=1e-12)


def test_spectral_gap() -> None:
    frequencies = ring_frequencies(10, 2)
    a, b = torch.zeros(5, 1, 10), torch.zeros(3, 1, 10)
    b[..., 5:] = 0.4
    assert spectral_gap(a, b, frequencies) == pytest.approx(0.2)
    assert spectral_gap(a, b, frequencies, (float(frequencies[5]), 2.0)) == pytest.approx(0.4)
    with pytest.raises(ConfigError, match="band"):
        spectral_gap(a, b, frequencies, (3.0, 4.0))


def test_unknown_window() -> None:
    with pytest.raises(ConfigError, match="window"):
        radial_power(torch.rand(1, 1, 8, 8), 2, window="hamming")
