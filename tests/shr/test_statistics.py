"""Statistics of the spectrum and the descriptor against numpy, and what they do not hold: phases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from frerec.errors import ConfigError, FreRecError
from frerec.shr.retrieval.descriptor import DescriptorSettings, blur_direction, descriptor
from frerec.shr.statistics import (
    aggregate_bands,
    band_of_ring,
    content_hash,
    ring_counts,
    ring_statistics,
    slices_as_batch,
)
from frerec.spectrum.fourier import periodic_plus_smooth
from frerec.spectrum.power import radial_power

SHAPES = [(32, 32), (33, 40), (21, 17), (12, 16, 9)]


def image(shape: tuple[int, ...], channels: int = 1, seed: int = 0) -> torch.Tensor:
    """A smooth random image (C, *shape) in [0, 1]."""
    random = np.random.default_rng(seed)
    smooth = np.stack([gaussian_filter(random.standard_normal(shape), 1.5) for _ in range(channels)])
    return torch.from_numpy(np.clip(0.5 + smooth, 0, 1)).float()


def full_plane(x: torch.Tensor, n_rings: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By numpy, over the full plane: amplitude (C, M), radius (M,) and ring (M,) of every coefficient."""
    shape = tuple(x.shape[1:])
    periodic = periodic_plus_smooth(x, len(shape))[0].double().numpy()
    amplitude = np.abs(np.fft.fftn(periodic, axes=range(1, periodic.ndim), norm="ortho")).reshape(len(x), -1)
    grid = np.meshgrid(*[np.fft.fftfreq(n) * 2 for n in shape], indexing="ij")
    radius = np.sqrt(sum(g**2 for g in grid)).ravel()
    ring = np.floor(radius / np.sqrt(len(shape)) * n_rings + 1e-6).astype(int).clip(max=n_rings - 1)
    return amplitude, radius, ring


@pytest.mark.parametrize("shape", SHAPES)
def test_ring_statistics_equal_numpy_on_the_full_plane(shape: tuple[int, ...]) -> None:
    x, n_rings = image(shape, channels=2), 9
    amplitude, _, ring = full_plane(x, n_rings)
    log = np.log10(np.maximum(amplitude, 1e-7))
    found = ring_statistics(x, len(shape), n_rings).numpy()
    assert found.shape == (2, n_rings, 4)
    for r in range(n_rings):
        there = ring == r
        wanted = [v[:, there].mean(1) for v in (amplitude, amplitude**2, log, log**2)]
        np.testing.assert_allclose(found[:, r], np.stack(wanted, 1), rtol=2e-4, atol=1e-6)
    assert ring_counts(shape, n_rings).tolist() == np.bincount(ring, minlength=n_rings).tolist()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("log", [False, True])
def test_bands_equal_numpy_over_their_coefficients(shape: tuple[int, ...], log: bool) -> None:
    x, n_rings, mask_ratio, bands = image(shape), 12, 0.5, 3
    amplitude, _, ring = full_plane(x, n_rings)
    values = np.log10(np.maximum(amplitude, 1e-7))[0] if log else amplitude[0]
    centre = (np.arange(n_rings) + 0.5) / n_rings * np.sqrt(len(shape))
    edges = np.linspace(mask_ratio, np.sqrt(len(shape)), bands + 1)
    statistics, counts = ring_statistics(x, len(shape), n_rings), ring_counts(shape, n_rings)
    mean, std = aggregate_bands(statistics, counts, len(shape), mask_ratio, bands, log)
    for b in range(bands):
        there = np.isin(ring, np.flatnonzero((centre >= edges[b]) & (centre < edges[b + 1])))
        assert mean[0, b].item() == pytest.approx(values[there].mean(), rel=1e-4)
        assert std[0, b].item() == pytest.approx(values[there].std(), rel=1e-3)


def test_mean_power_is_the_radial_power_spectrum() -> None:
    x = image((48, 48))
    power = ring_statistics(x, 2, 30)[..., 1].log10()
    torch.testing.assert_close(power, radial_power(x, 2, 30), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("mask_ratio", "bands", "told"), [(1.0, 1, "mask_ratio=1.0"), (0.5, 40, "bands=40"), (0.5, 0, "bands=0")]
)
def test_bands_out_of_range_are_refused(mask_ratio: float, bands: int, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        band_of_ring(20, 2, mask_ratio, bands)


@pytest.mark.parametrize("shape", [(32, 32), (33, 40), (12, 16, 9)])
def test_nothing_kept_holds_a_phase(shape: tuple[int, ...]) -> None:
    # reversing every axis conjugates the spectrum: another image, the same amplitudes
    x = image(shape)
    reversed_x = x.flip(tuple(range(1, x.ndim)))
    assert not torch.allclose(x, reversed_x, atol=0.05)
    first, second = (ring_statistics(v, len(shape), 9) for v in (x, reversed_x))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4, equal_nan=True)
    settings = DescriptorSettings(cut=0.5)
    first, second = (descriptor(v[None], len(shape), settings) for v in (x, reversed_x))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)


def test_descriptor_ignores_the_high_band() -> None:
    x = image((64, 64))
    rows, columns = np.indices((64, 64))
    # patterns of radius 0.5 and 1 that fade towards the border, which is the business of the smooth component
    fade = np.outer(np.hanning(64), np.hanning(64))
    pattern = torch.from_numpy(fade * (np.cos(np.pi * rows / 2) + (-1.0) ** columns)).float()
    changed = descriptor((x + 0.05 * pattern)[None], 2, DescriptorSettings())
    torch.testing.assert_close(changed, descriptor(x[None], 2, DescriptorSettings()), atol=0.02, rtol=0)


@pytest.mark.parametrize("shape", [(64, 64), (64, 48), (24, 24, 24)])
def test_a_blur_moves_the_descriptor_along_one_direction(shape: tuple[int, ...]) -> None:
    # fading towards the border, so that there is no smooth component to speak of
    fade = np.prod(np.meshgrid(*[np.hanning(n) for n in shape], indexing="ij"), axis=0)
    sharp = fade * np.random.default_rng(3).standard_normal(shape)
    blurred = gaussian_filter(sharp, 1.0, mode="wrap")
    settings = DescriptorSettings(cut=0.5, rings=8)
    before, after = (
        descriptor(torch.from_numpy(v)[None, None].float(), len(shape), settings)[0] for v in (sharp, blurred)
    )
    direction = blur_direction(shape, 1, settings)
    cells = direction > 0
    change = (after - before).double()[cells]
    # log10 of exp(-(pi r)^2)
    torch.testing.assert_close(change, -(np.pi**2) * np.log10(np.e) * direction[cells], atol=0.15, rtol=0)


def test_descriptor_of_too_low_a_cut_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"descriptor\.cut=0\.01.*\(16, 16\)"):
        descriptor(image((16, 16))[None], 2, DescriptorSettings(cut=0.01))
    with pytest.raises(ConfigError, match="descriptor"):
        DescriptorSettings(rings=0)


def test_content_hash_knows_an_image_by_its_content() -> None:
    x = (image((20, 24)) * 255).round() / 255
    assert content_hash(x) == content_hash(x + 1e-7) == content_hash(x.double())
    others = [x.flip(1), x.reshape(1, 24, 20), x + 1e-3, torch.cat([x, x])]
    assert len({content_hash(x), *map(content_hash, others)}) == 5


def test_a_volume_is_a_batch_of_slices_for_a_flat_bank() -> None:
    volume = image((8, 9, 5), channels=2)
    slices = slices_as_batch(volume, 2)
    assert slices.shape == (5, 2, 8, 9)
    assert torch.equal(slices[3], volume[..., 3])
    assert slices_as_batch(volume, 3).shape == (1, 2, 8, 9, 5)
    with pytest.raises(FreRecError, match=r"\(2, 8\).*spatial_dims=2"):
        slices_as_batch(volume[:, :, 0, 0], 2)
