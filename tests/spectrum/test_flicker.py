from __future__ import annotations

import numpy as np
import pytest
import torch

from frerec.errors import ConfigError, FreRecError
from frerec.spectrum.flicker import compare_flicker, flicker, slice_energies


def textured(depth: int = 8, size: int = 32) -> torch.Tensor:
    """A volume whose slices share their power but not their noise."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, size, size, depth, generator=generator)


def test_energy_equals_numpy_on_a_periodic_slice() -> None:
    # where opposite borders agree there is no jump, and an image is its own periodic component
    size, mask_ratio = 24, 0.5
    slice_ = np.random.default_rng(0).random((size, size))
    slice_[:, -1], slice_[-1, :] = slice_[:, 0], slice_[0, :]
    slice_[-1, -1] = slice_[0, 0] = slice_[0, -1] = slice_[-1, 0]
    power = np.abs(np.fft.fft2(slice_, norm="ortho")) ** 2
    fy, fx = np.meshgrid(np.fft.fftfreq(size) * 2, np.fft.fftfreq(size) * 2, indexing="ij")
    high = np.hypot(fy, fx) >= mask_ratio
    expected = np.log10(power[high].mean())
    got = slice_energies(torch.from_numpy(slice_)[None, :, :, None], mask_ratio)
    assert got.shape == (1, 1)
    assert float(got) == pytest.approx(expected, abs=1e-9)


def test_flicker_is_the_step_that_was_planted() -> None:
    volume = textured()[..., :1].repeat(1, 1, 1, 6)
    gain = torch.tensor([1.0, 10**0.05] * 3)  # amplitude; in power twice as many decades
    assert flicker(volume, 0.25) == pytest.approx(0, abs=1e-12)
    assert flicker(volume * gain, 0.25) == pytest.approx(0.1, abs=1e-5)
    compared = compare_flicker(volume * gain, volume, 0.25)
    assert (compared.before, compared.after, compared.ratio) == pytest.approx((0.1, 0, 0), abs=1e-5)


def test_empty_slices_and_single_slices_do_not_count() -> None:
    volume = textured()
    padded = torch.cat([torch.zeros(1, 32, 32, 2), volume, torch.full((1, 32, 32, 1), 0.3)], dim=-1)
    assert flicker(padded, 0.25) == pytest.approx(flicker(volume, 0.25), abs=1e-9)
    assert flicker(volume[..., :1], 0.25) == 0
    assert compare_flicker(volume, volume, 0.25).ratio == 1


def test_wrong_input_is_told() -> None:
    with pytest.raises(FreRecError, match="no volume"):
        flicker(torch.rand(1, 8, 8), 0.25)
    with pytest.raises(FreRecError, match="differ"):
        compare_flicker(textured(4), textured(5), 0.25)
    with pytest.raises(ConfigError, match="mask_ratio"):
        flicker(textured(), 1.5)
