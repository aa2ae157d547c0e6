"""A volume is one object: its slices do not flicker more after recalibration than before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from frerec.io.intensity import NormalizeRange
from frerec.io.loader import LoadMedicalImage
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.transforms import ImposeProfile, StatisticalHighFrequencyReplacement
from frerec.spectrum.flicker import compare_flicker

MASK_RATIO = 0.25


@pytest.fixture(scope="module")
def volume(shared_data: Path) -> torch.Tensor:
    """Sixteen slices of a real MR brain series, (1, 160, 160, 16) in [0, 1]."""
    files = sorted((shared_data / "dicom" / "example-dicom-structural").rglob("*.dcm"))
    image = NormalizeRange("measured")(LoadMedicalImage()(files[0].parent)).as_tensor()
    assert image.shape[-1] == 40
    return image[:, 110:270, 57:217, 12:28].contiguous()


@pytest.fixture(scope="module")
def replacement(volume: torch.Tensor) -> StatisticalHighFrequencyReplacement:
    """Stage 1 with a bank of the slices themselves, so that every drawn profile is a plausible one."""
    bank = ReferenceBank.build([volume[..., i] for i in range(volume.shape[-1])], spatial_dims=2)
    return StatisticalHighFrequencyReplacement(bank, mask_ratio=MASK_RATIO, top_k=8, strength=0.3)


def recalibrated(replacement: StatisticalHighFrequencyReplacement, image: torch.Tensor) -> torch.Tensor:
    replaced = replacement(image)
    drawn = replaced.meta["frerec"]["applied"]
    return ImposeProfile(MASK_RATIO)(replaced.as_tensor(), drawn.profile, drawn.spacing)


def test_one_draw_for_all_slices(volume: torch.Tensor, replacement: StatisticalHighFrequencyReplacement) -> None:
    together = compare_flicker(volume, recalibrated(replacement, volume), MASK_RATIO)
    assert together.ratio < 1.1
    slices = [recalibrated(replacement, volume[..., i]) for i in range(volume.shape[-1])]
    apart = compare_flicker(volume, torch.stack(slices, dim=-1), MASK_RATIO)
    # what would happen if every slice drew for itself
    assert apart.after > 1.2 * together.after
