from __future__ import annotations

import numpy as np
import pytest
import torch

from frerec.audit.spectral import RadialSpectrumMetric, SpectralGapMetric, SpectrumMapMetric, off_ring_excess
from frerec.spectrum.fourier import periodic_plus_smooth
from frerec.spectrum.power import ring_frequencies
from tests.audit.conftest import blurred, texture, textures


def test_radial_spectra_equal_numpy_ring_means() -> None:
    images, rings = textures(range(3), 33), 12
    metric = RadialSpectrumMetric(2, rings, "none")
    metric(images[:2])
    metric(images[2:])
    frequency = [np.fft.fftfreq(33) * 2] * 2
    ring = np.floor(np.hypot(*np.meshgrid(*frequency, indexing="ij")) / np.sqrt(2) * rings + 1e-6).clip(max=rings - 1)
    power = np.abs(np.fft.fft2(images.double().numpy(), norm="ortho")) ** 2
    expected = np.stack([[np.log10(p[0][ring == r].mean()) for r in range(rings)] for p in power])
    assert metric.get_buffer().shape == (3, 1, rings)
    assert np.abs(metric.get_buffer()[:, 0].numpy() - expected).max() < 1e-4
    assert np.abs(metric.aggregate()[0].numpy() - expected.mean(0)).max() < 1e-4


def test_gap_is_the_mean_distance_of_the_means_and_its_interval_holds_the_truth() -> None:
    frequencies = ring_frequencies(20, 2)
    random = torch.Generator().manual_seed(0)
    held = 0
    for seed in range(100):
        x = torch.randn(60, 1, 20, generator=random)
        y = torch.randn(50, 1, 20, generator=random) + 1.0
        gap = SpectralGapMetric((0.5, float("inf")), draws=200, seed=seed)(x, y, frequencies)
        chosen = frequencies >= 0.5
        expected = (x.mean(0) - y.mean(0)).abs()[:, chosen].mean()
        assert gap.value == pytest.approx(float(expected), abs=1e-6)
        assert (gap.n, gap.n_reference) == (60, 50)
        held += gap.low <= 1.0 <= gap.high
    assert held >= 90


def test_gap_between_samples_of_one_distribution_is_not_far_from_zero() -> None:
    x = torch.randn(200, 1, 20, generator=torch.Generator().manual_seed(1))
    gap = SpectralGapMetric(draws=300)(x[:100], x[100:], ring_frequencies(20, 2))
    # an absolute value is never negative: such intervals are read against the gap of two real halves
    assert gap.low < 0.05
    assert gap.value < 0.2


@pytest.mark.parametrize("shape", [(32, 32), (31, 33), (32, 45)])
def test_map_equals_numpy_where_the_grid_is_the_image_grid(shape: tuple[int, int]) -> None:
    images = torch.rand(4, 1, *shape, generator=torch.Generator().manual_seed(0))
    # one bin a frequency: even axes have their Nyquist row at both ends
    size = max(n + 1 - n % 2 for n in shape)
    metric = SpectrumMapMetric(size)
    metric(images[:1])
    metric(images[1:])
    mean, error = metric.aggregate()
    periodic = periodic_plus_smooth(images, 2)[0].double().numpy()[:, 0]
    power = np.fft.fftshift(np.log10(np.abs(np.fft.fft2(periodic, norm="ortho")) ** 2 + 1e-30), axes=(1, 2))
    for axis in (1, 2):
        if power.shape[axis] % 2 == 0:
            power = np.concatenate([power, power.take([0], axis)], axis)
    if power.shape[1:] == (size, size):
        middle = np.ones((size, size), bool)
        middle[size // 2, size // 2] = False  # zero frequency is floored
        assert np.abs(mean.numpy() - power.mean(0))[middle].max() < 1e-3
        assert np.abs(error.numpy() - power.std(0, ddof=1) / 2)[middle].max() < 1e-3
    symmetric = mean.flip(0, 1)
    assert (mean - symmetric).abs().max() < 1e-3


def test_map_does_not_grow_with_the_images() -> None:
    metric = SpectrumMapMetric(16)
    sizes = set()
    for seed in range(5):
        metric(textures(range(seed, seed + 1)))
        sizes.add(sum(v.numel() for v in vars(metric).values() if isinstance(v, torch.Tensor)))
    assert sizes == {2 * 16 * 16}
    assert metric.count == 5


def test_a_checkerboard_is_found_where_it_is() -> None:
    real, synthetic = SpectrumMapMetric(48), SpectrumMapMetric(48)
    real(textures(range(40)))
    fake = np.stack([blurred(texture(seed))[None] for seed in range(40, 80)])
    synthetic(torch.from_numpy(fake).float())
    found = off_ring_excess(*synthetic.aggregate(), *real.aggregate())
    assert found["peak"] > 1
    assert found["peak_z"] > 6
    assert min(abs(f) for f in found["peak_frequency"]) > 0.95
    assert found["peak_period"] == pytest.approx(np.sqrt(2), abs=0.05)


def test_no_artefact_is_seen_between_samples_of_one_distribution() -> None:
    one, other = SpectrumMapMetric(48), SpectrumMapMetric(48)
    one(textures(range(60)))
    other(textures(range(60, 120)))
    found = off_ring_excess(*one.aggregate(), *other.aggregate())
    assert found["peak_z"] < 6
    assert found["angular"] < 0.15


def test_the_maps_of_two_halves_make_that_of_the_whole() -> None:
    whole, one, other = (SpectrumMapMetric(16) for _ in range(3))
    whole(textures(range(7)))
    one(textures(range(3)))
    other(textures(range(3, 7)))
    for merged, direct in zip(one.merged(other).aggregate(), whole.aggregate(), strict=True):
        assert torch.allclose(merged, direct, rtol=1e-9)


@pytest.mark.parametrize("period", [2, 4, 8])
def test_lattices_are_found_with_their_period(period: int) -> None:
    real, synthetic = SpectrumMapMetric(64), SpectrumMapMetric(64)
    real(textures(range(40), 64))
    fine = textures(range(40, 80), 64)
    # what an upsampling by that factor leaves: every so many columns are a little brighter
    fine[..., ::period] += 0.02
    synthetic(fine)
    found = off_ring_excess(*synthetic.aggregate(), *real.aggregate())
    assert found["peak"] > 0.25
    assert found["peak_z"] > 6
    # the comb has its harmonics, one of which may stand out most; on the grid of the map its place is 1/64 inexact
    cycles = 2 / found["peak_period"] * period / 2
    assert cycles == pytest.approx(round(cycles), abs=0.05 * period)
    assert abs(found["peak_frequency"][0]) < 0.05
