"""The noise of stage 1: seeded by item, and as like its neighbours as the slices of a volume are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from frerec.shr.noise import correlate_slices, white_noise
from frerec.shr.replacement import HighBand


def test_noise_of_an_item_depends_on_its_seed_alone() -> None:
    assert torch.equal(white_noise((1, 8, 8), [5, 6])[1], white_noise((1, 8, 8), [6])[0])


@pytest.mark.parametrize("wanted", [0.0, 0.6, 0.9])
def test_noise_changes_from_slice_to_slice_as_the_volume_does(wanted: float) -> None:
    fresh = white_noise((1, 48, 48), range(12))
    volume = fresh.clone()
    for z in range(1, 12):
        volume[z] = wanted * volume[z - 1] + math.sqrt(1 - wanted**2) * fresh[z]
    band = HighBand((48, 48), 0.2)
    noise = correlate_slices(white_noise((1, 48, 48), range(100, 112)), volume, band).numpy().reshape(12, -1)
    found = np.corrcoef(noise)
    np.testing.assert_allclose(np.diagonal(found, 1).mean(), wanted, atol=0.03)
    np.testing.assert_allclose(np.diagonal(found, 2).mean(), wanted**2, atol=0.04)
    np.testing.assert_allclose(noise.std(1), 1, atol=0.06)
