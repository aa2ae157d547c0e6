"""The cosine transform against scipy's."""

from __future__ import annotations

import pytest
import scipy.fft
import torch

from frerec.spectrum.cosine import at_radius, cosine_radius, dctn, idctn


@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (1, 3, 15, 22), (1, 1, 6, 7, 8), (1, 1, 1, 9)])
def test_it_is_scipys_orthonormal_transform(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    dims = len(shape) - 2
    expected = torch.from_numpy(scipy.fft.dctn(x.numpy(), type=2, norm="ortho", axes=tuple(range(-dims, 0))))
    torch.testing.assert_close(dctn(x, dims), expected, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(idctn(dctn(x, dims), dims), x, atol=1e-5, rtol=1e-5)


def test_a_wave_lies_at_its_radius() -> None:
    rows = torch.cos(torch.pi / 32 * (torch.arange(32) + 0.5) * 8)[:, None].expand(32, 32)
    spectrum = dctn(rows.contiguous())
    place = spectrum.abs().argmax()
    assert float(cosine_radius((32, 32)).flatten()[place]) == 8 / 32


def test_values_on_rings_are_read_at_every_radius() -> None:
    centres = (torch.arange(40) + 0.5) * 2**0.5 / 40
    values = at_radius(torch.stack([centres, 3 - centres]), (64, 48))
    rho = cosine_radius((64, 48)).clamp(float(centres[0]), float(centres[-1]))
    torch.testing.assert_close(values, torch.stack([rho, 3 - rho]), atol=1e-5, rtol=0)
