"""Transforms against numpy, and the periodic-plus-smooth split against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frerec.errors import FreRecError
from frerec.spectrum import hermitian_weights, irfftn, periodic_plus_smooth, periodic_spectrum, rfftn

SHAPES = [(32, 32), (33, 48), (48, 33), (7, 5), (1, 9), (12, 10, 8), (9, 7, 5)]


def image(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_rfftn_equals_numpy_and_inverts(shape: tuple[int, ...]) -> None:
    x = image(shape)
    spectrum = rfftn(x, len(shape))
    axes = tuple(range(-len(shape), 0))
    np.testing.assert_allclose(spectrum.numpy(), np.fft.rfftn(x.numpy(), axes=axes, norm="ortho"), atol=1e-12)
    back = irfftn(spectrum, shape)
    assert not back.is_complex()
    assert torch.allclose(back, x, atol=1e-14, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_parseval_with_hermitian_weights(shape: tuple[int, ...]) -> None:
    x = image(shape)
    power = rfftn(x, len(shape)).abs().square() * hermitian_weights(shape)
    assert torch.allclose(power.flatten(2).sum(2), x.square().flatten(2).sum(2), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
def test_low_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    x = (image((8, 8)) * 200).to(dtype)
    assert rfftn(x, 2).dtype == torch.complex64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(rfftn(x, 2), rfftn(x.float(), 2))


@pytest.mark.parametrize("shape", SHAPES)
def test_periodic_plus_smooth(shape: tuple[int, ...]) -> None:
    x = image(shape) + torch.linspace(0, 2, shape[-1], dtype=torch.float64)
    periodic, smooth = periodic_plus_smooth(x, len(shape))
    assert torch.allclose(periodic + smooth, x, atol=1e-13)
    assert smooth.flatten(2).mean(2).abs().max() < 1e-12
    # the definition: the periodic Laplacian of the smooth part is the jump across the border, and nothing inside
    axes = [axis for axis in range(-len(shape), 0) if x.shape[axis] > 1]
    laplacian = sum(smooth.roll(1, axis) + smooth.roll(-1, axis) - 2 * smooth for axis in axes)
    inside = tuple(slice(1, -1) if n > 1 else slice(None) for n in shape)
    assert torch.as_tensor(laplacian)[(..., *inside)].abs().max() < 1e-12


@pytest.mark.parametrize("shape", [*SHAPES, (9, 1), (5, 1, 6), (256, 200)])
def test_spectrum_of_the_periodic_part(shape: tuple[int, ...]) -> None:
    x = image(shape) + torch.linspace(0, 2, shape[-1], dtype=torch.float64)
    dims = len(shape)
    axes = tuple(range(-dims, 0))
    # by the definition, with the jump written out and two whole transforms
    jump = np.zeros(x.shape)
    for axis in axes:
        if x.shape[axis] > 1:
            difference = np.take(x.numpy(), [-1], axis) - np.take(x.numpy(), [0], axis)
            np.moveaxis(jump, axis, 0)[0] += np.moveaxis(difference, axis, 0)[0]
            np.moveaxis(jump, axis, 0)[-1] -= np.moveaxis(difference, axis, 0)[0]
    waves = np.meshgrid(*[2 * np.cos(2 * np.pi * np.fft.fftfreq(n)) - 2 for n in shape], indexing="ij")
    laplacian = np.sum(waves, axis=0)
    laplacian.flat[0] = np.inf
    wanted = np.fft.fftn(x.numpy(), axes=axes, norm="ortho") - np.fft.fftn(jump, axes=axes, norm="ortho") / laplacian
    half = wanted[..., : shape[-1] // 2 + 1]
    np.testing.assert_allclose(periodic_spectrum(x, dims).numpy(), half, atol=1e-12)
    np.testing.assert_allclose(periodic_spectrum(x.float(), dims).numpy(), half, atol=2e-5)
    np.testing.assert_allclose(rfftn(periodic_plus_smooth(x, dims)[0], dims).numpy(), half, atol=1e-12)


def test_periodic_image_has_no_smooth_part() -> None:
    ramp = torch.arange(64, dtype=torch.float64)
    x = torch.sin(2 * np.pi * 3 * ramp / 64)[:, None] * torch.cos(2 * np.pi * 5 * ramp / 64)[None]
    closed = torch.cat([x, x[:1]])[:64]
    _, smooth = periodic_plus_smooth(torch.ones(64, 64, dtype=torch.float64), 2)
    assert smooth.abs().max() == 0
    _, smooth = periodic_plus_smooth(closed, 2)
    assert smooth.abs().max() < 0.2 * x.abs().max()


def test_the_cross_of_a_ramp_disappears() -> None:
    x = torch.linspace(0, 1, 64, dtype=torch.float64).expand(64, 64)
    before = rfftn(x, 2).abs()[0, 8:].square().sum()
    after = rfftn(periodic_plus_smooth(x, 2)[0], 2).abs()[0, 8:].square().sum()
    assert after < 0.01 * before


@pytest.mark.parametrize(("shape", "dims"), [((8, 8), 4), ((8,), 2), ((0, 8), 2)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...], dims: int) -> None:
    with pytest.raises(FreRecError):
        rfftn(torch.zeros(shape), dims)
