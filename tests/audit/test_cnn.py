from __future__ import annotations

import numpy as np
import torch

from frerec.audit.cnn import FitCNN, PixelReservoir
from frerec.audit.detector import DetectorMetric
from tests.audit.conftest import blurred, texture, textures


def test_reservoir_is_bounded_and_blind_to_order() -> None:
    images = {f"image {i}": textures(range(i, i + 1), 20)[0] for i in range(30)}
    contents = []
    for order in (list(images), list(images)[::-1]):
        reservoir = PixelReservoir(limit=8, size=16, seed=1)
        for name in order:
            reservoir.add(images[name], name)
        contents.append(reservoir.contents())
    (x, names), (y, other_names) = contents
    assert names == other_names
    assert len(names) == 8
    assert torch.equal(x, y)
    assert torch.equal(x[0], images[names[0]][:, 2:18, 2:18].half())


def test_small_images_are_reflected() -> None:
    reservoir = PixelReservoir(size=8)
    reservoir.add(torch.arange(9.0).view(1, 3, 3) / 9, "one")
    crop = reservoir.contents()[0][0, 0].float().numpy()
    expected = np.pad(np.arange(9).reshape(3, 3) / 9, ((2, 3), (2, 3)), mode="reflect")
    assert np.abs(crop - expected).max() < 1e-3


def test_blur_is_seen_and_nothing_is_seen_where_nothing_is() -> None:
    real = textures(range(30)).half()
    other = textures(range(30, 60)).half()
    fake = torch.from_numpy(np.stack([blurred(texture(seed))[None] for seed in range(60, 90)])).half()
    metric = DetectorMetric(FitCNN(epochs=6, crop=32), n_splits=2, repeats=1, draws=200)
    state = torch.random.get_rng_state()
    planted = metric(fake, real)
    assert planted.value > 0.95
    assert torch.equal(torch.random.get_rng_state(), state)
    nothing = metric(other, real)
    assert nothing.low < 0.65
    assert nothing.value < 0.8
