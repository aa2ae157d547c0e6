"""Radii, rings and masks against numpy's frequencies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from frerec.errors import ConfigError
from frerec.spectrum import hermitian_weights, high_mask, radius, ring_edges, ring_index, ring_mean

SHAPES = [(32, 32), (33, 48), (15, 7), (12, 10, 8)]


def full_radius(shape: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray:
    """Radius over the whole spectrum from numpy's physical frequencies, in fractions of the finest Nyquist."""
    grids = np.meshgrid(*[np.fft.fftfreq(n, s) for n, s in zip(shape, spacing, strict=True)], indexing="ij")
    return np.sqrt(sum(g**2 for g in grids)) / (0.5 / min(spacing))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("anisotropic", [False, True])
def test_radius_equals_numpy(shape: tuple[int, ...], anisotropic: bool) -> None:
    spacing = tuple(1.0 + i for i in range(len(shape)))[::-1] if anisotropic else (1.0,) * len(shape)
    half = shape[-1] // 2 + 1
    expected = full_radius(shape, spacing)[..., :half]
    np.testing.assert_allclose(radius(shape, spacing).numpy(), expected, atol=1e-6)
    assert radius(shape)[(0,) * len(shape)] == 0


def test_radius_is_one_at_nyquist_of_the_finest_axis() -> None:
    r = radius((8, 16), spacing=(2.0, 1.0))
    assert r[0, 8] == 1
    assert r[4, 0] == 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_half_plane_statistics_are_those_of_the_full_spectrum(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).numpy()
    power = np.abs(np.fft.fftn(x, norm="ortho")) ** 2
    rings = 9
    full = np.minimum((full_radius(shape, (1.0,) * len(shape)) / math.sqrt(len(shape)) * rings + 1e-6), rings - 1)
    expected = [power[full.astype(int) == ring].mean() for ring in range(rings)]
    half = torch.from_numpy(power[..., : shape[-1] // 2 + 1])
    got = ring_mean(half, ring_index(shape, rings), hermitian_weights(shape), rings)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-10)


def test_rings_cover_everything_once() -> None:
    index = ring_index((64, 64))
    assert index.min() == 0
    assert index.max() == round(math.sqrt(2) * 32) - 1
    edges = ring_edges(10, 2)
    assert edges[0] == 0
    assert edges[-1] == pytest.approx(math.sqrt(2))


def test_an_empty_ring_is_nan() -> None:
    mean = ring_mean(torch.ones(4, 3), ring_index((4, 4), 40), hermitian_weights((4, 4)), 40)
    assert mean.isnan().any()
    assert torch.equal(mean[~mean.isnan()], torch.ones((~mean.isnan()).sum()))


def test_high_mask_is_the_complement_of_a_disc() -> None:
    mask = high_mask((32, 32), 0.5)
    assert torch.equal(mask, radius((32, 32)) >= 0.5)
    assert not mask[0, 0]
    assert mask[16, 16]


@pytest.mark.parametrize("mask_ratio", [0, 1, -0.1, float("nan")])
def test_mask_ratio_out_of_range(mask_ratio: float) -> None:
    with pytest.raises(ConfigError, match="mask_ratio"):
        high_mask((8, 8), mask_ratio)


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, float("inf"))])
def test_spacing_out_of_range(spacing: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="spacing"):
        radius((8, 8), spacing)
