"""frerec.rhm.rings against a loop over frequencies written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frerec.rhm.rings import ring_windows

CPU = torch.device("cpu")


def full_plane_radius(shape: tuple[int, ...]) -> np.ndarray:
    axes = [2 * np.fft.fftfreq(n) for n in shape]
    return np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij")))


@pytest.mark.parametrize("shape", [(12, 9), (7, 16), (1, 5), (6, 5, 4)])
def test_average_is_the_gaussian_mean_over_the_full_plane(shape: tuple[int, ...]) -> None:
    n_rings = 5
    image = np.random.default_rng(0).normal(size=shape)
    amplitude = np.abs(np.fft.fftn(image, norm="ortho"))
    r = full_plane_radius(shape)
    expected = []
    for centre in np.linspace(0, 1, n_rings):
        weight = np.exp(-0.5 * ((np.minimum(r, 1) - centre) * (n_rings - 1)) ** 2) * (r > 0)
        expected.append((weight * amplitude).sum() / weight.sum())
    average, _ = ring_windows(shape, n_rings, CPU)
    half = torch.fft.rfftn(torch.from_numpy(image), norm="ortho").abs().float().flatten()
    np.testing.assert_allclose((average @ half).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (8, 8), (33, 20), (4, 6, 5)])
def test_windows_are_means_whatever_the_size(shape: tuple[int, ...]) -> None:
    average, spread = ring_windows(shape, 16, CPU)
    texture = torch.ones(len(spread))
    texture[0] = 0
    torch.testing.assert_close(spread.sum(1), texture)
    assert torch.equal(average[:, 0], torch.zeros(16))
    if len(spread) > 1:
        torch.testing.assert_close(average.sum(1), torch.ones(16))
    assert average.min() >= 0 and average.isfinite().all()


def test_a_frequency_lies_on_the_same_rings_at_every_size() -> None:
    _, small = ring_windows((32, 32), 16, CPU)
    _, large = ring_windows((64, 128), 16, CPU)
    small, large = small.view(32, 17, 16), large.view(64, 65, 16)
    torch.testing.assert_close(small[::4, ::4], large[::8, ::16])


def test_cached_windows_serve_training_after_inference() -> None:
    with torch.inference_mode():
        ring_windows((10, 14), 7, CPU)
    average, _ = ring_windows((10, 14), 7, CPU)
    weight = torch.ones(80, requires_grad=True)
    (average @ weight).sum().backward()
    assert weight.grad is not None and weight.grad[1:].abs().min() > 0
