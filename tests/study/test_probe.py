"""The probe on classifiers whose shortcut is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from frerec.study.probe import shortcut_probe, through_generator, transfer


def images(seed: int, n: int = 30, blur: float = 0.0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.standard_normal((n, 1, 32, 32)), (0, 0, 0.7, 0.7), mode="wrap")
    return torch.from_numpy(np.clip(0.5 + 0.15 * gaussian_filter(noise, (0, 0, blur, blur), mode="wrap"), 0, 1)).float()


def test_the_filter_is_that_of_the_generator() -> None:
    real = images(0)
    blurred = torch.from_numpy(gaussian_filter(real.numpy(), (0, 0, 1, 1), mode="wrap"))
    gain = transfer(real, blurred)
    assert gain[0] == 1
    # a Gaussian of sigma 1 leaves exp(-2 pi^2 f^2) at f cycles a pixel; ring 12 of 23 lies at .25 cycles
    assert gain[11] == pytest.approx(np.exp(-2 * np.pi**2 * (11.5 / 23 * np.sqrt(0.5)) ** 2), rel=0.15)
    assert (through_generator(real, gain) - blurred).abs().mean() < 0.1 * (real - blurred).abs().mean()


@pytest.mark.parametrize("looks_at_texture", [True, False])
def test_a_classifier_that_looks_at_texture_is_found_out(looks_at_texture: bool) -> None:
    def predict(x: torch.Tensor) -> np.ndarray:
        texture = -x.diff(dim=-1).square().mean((1, 2, 3)) if looks_at_texture else x.mean((1, 2, 3))
        score = torch.sigmoid(1e3 * texture).double().numpy()
        return np.stack([1 - score, score], 1)

    test, labels = images(1, 60), torch.arange(60) % 2
    found = shortcut_probe(predict, test, labels, images(2), images(3, blur=1.0), positive=1)
    if looks_at_texture:
        assert found["source"] == found["filtered"] == 1
    else:
        assert 0.3 < found["source"] < 0.7
        assert 0.4 < found["filtered"] < 0.6
