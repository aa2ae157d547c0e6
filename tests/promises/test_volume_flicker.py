"""A volume is one object: its slices do not flicker more after recalibration than before.

Flicker is measured in three ways: how much the power of the high band changes from slice to slice, as a whole and
ring by ring, and how little its coefficients have to do with those of the slice before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from frerec.io.intensity import NormalizeRange
from frerec.io.loader import LoadMedicalImage
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.transforms import ImposeProfile, StatisticalHighFrequencyReplacement
from frerec.spectrum.bands import hermitian_weights, high_mask
from frerec.spectrum.fourier import periodic_spectrum
from frerec.spectrum.power import radial_power, ring_frequencies


def high_band(volume: torch.Tensor, mask_ratio: float) -> torch.Tensor:
    """Weighted high-band spectrum of every slice of (C, H, W, D): (D, C, H, W // 2 + 1), 0 below the band."""
    slices = volume.permute(3, 0, 1, 2).double()
    shape = tuple(slices.shape[-2:])
    weights = hermitian_weights(shape).double() * high_mask(shape, mask_ratio)
    return periodic_spectrum(slices, 2) * weights.sqrt()


def flicker(volume: torch.Tensor, mask_ratio: float) -> float:
    """Mean absolute difference of the high-band power of neighbouring slices, in decades."""
    power = high_band(volume, mask_ratio).abs().square().sum((-2, -1))
    return float(power.log10().diff(dim=0).abs().mean())


def ring_flicker(volume: torch.Tensor, mask_ratio: float) -> float:
    """The same ring by ring; rings that lie on the edge of the band or hold a few coefficients left out."""
    power = radial_power(volume.permute(3, 0, 1, 2), 2)
    radius = ring_frequencies(power.shape[-1], 2)
    return float(power[..., (radius > mask_ratio + 0.02) & (radius < 1.3)].diff(dim=0).abs().mean())


def likeness(volume: torch.Tensor, mask_ratio: float) -> float:
    """Mean correlation of the high bands of neighbouring slices."""
    spectrum = torch.view_as_real(high_band(volume, mask_ratio)).flatten(1)
    return float(torch.cosine_similarity(spectrum[1:], spectrum[:-1], dim=1).mean())


@pytest.fixture(scope="module")
def volume(shared_data: Path) -> torch.Tensor:
    """Sixteen slices of a real MR brain series, (1, 160, 160, 16) in [0, 1]."""
    files = sorted((shared_data / "dicom" / "example-dicom-structural").rglob("*.dcm"))
    image = NormalizeRange("measured")(LoadMedicalImage()(files[0].parent)).as_tensor()
    assert image.shape[-1] == 40
    return image[:, 110:270, 57:217, 12:28].contiguous()


@pytest.fixture(scope="module")
def bank(volume: torch.Tensor) -> ReferenceBank:
    """The slices themselves, so that every drawn profile is a plausible one."""
    return ReferenceBank.build([volume[..., i] for i in range(volume.shape[-1])], spatial_dims=2)


def recalibrated(replacement: StatisticalHighFrequencyReplacement, image: torch.Tensor) -> torch.Tensor:
    replaced = replacement(image)
    drawn = replaced.meta["frerec"]["applied"]
    return ImposeProfile(replacement.mask_ratio)(replaced.as_tensor(), drawn.profile, drawn.spacing)


def test_the_measures_see_what_was_planted() -> None:
    still = torch.rand(1, 32, 32, 1, generator=torch.Generator().manual_seed(0)).repeat(1, 1, 1, 6)
    assert flicker(still, 0.25) == pytest.approx(0, abs=1e-9)
    assert likeness(still, 0.25) == pytest.approx(1, abs=1e-9)
    assert ring_flicker(still, 0.25) == pytest.approx(0, abs=1e-5)
    gain = torch.tensor([1.0, 10**0.05] * 3)  # amplitude; in power twice as many decades
    assert flicker(still * gain, 0.25) == pytest.approx(0.1, abs=1e-5)
    assert ring_flicker(still * gain, 0.25) == pytest.approx(0.1, abs=1e-5)
    fresh = torch.rand(1, 32, 32, 200, generator=torch.Generator().manual_seed(1))
    assert likeness(fresh, 0.25) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("settings", [{}, {"mask_ratio": 0.25, "transition": 0.0, "strength": 0.3, "top_k": 8}])
def test_one_draw_for_all_slices(volume: torch.Tensor, bank: ReferenceBank, settings: dict[str, Any]) -> None:
    replacement = StatisticalHighFrequencyReplacement(bank, **settings)
    mask_ratio = replacement.mask_ratio
    together = recalibrated(replacement, volume)
    assert ring_flicker(together, mask_ratio) < 1.01 * ring_flicker(volume, mask_ratio)
    # another profile gives the rings, which change by more and by less, another weight in the whole
    assert flicker(together, mask_ratio) < 1.2 * flicker(volume, mask_ratio)
    for start in (mask_ratio, 0.5):  # what is nearly all noise is no less alike than what was there
        assert likeness(together, start) > likeness(volume, start) - 0.02
    # what would happen if every slice drew for itself
    apart = torch.stack([recalibrated(replacement, volume[..., i]) for i in range(volume.shape[-1])], dim=-1)
    assert flicker(apart, mask_ratio) > 1.5 * flicker(together, mask_ratio)
    assert ring_flicker(apart, mask_ratio) > 1.05 * ring_flicker(together, mask_ratio)
    assert likeness(apart, 0.5) < likeness(together, 0.5) - 0.02
