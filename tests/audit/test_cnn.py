from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from frerec.audit.cnn import TILE, FitCNN, TileReservoir, high_pass, tiles_of
from frerec.audit.cross_validation import DetectorMetric
from tests.audit.conftest import blurred, texture, textures


def test_reservoir_is_bounded_and_blind_to_order() -> None:
    images = {f"image {i}": textures(range(i, i + 1), 40)[0] for i in range(30)}
    contents = []
    for order in (list(images), list(images)[::-1]):
        reservoir = TileReservoir(limit=8, tiles=3, size=16, seed=1)
        for name in order:
            reservoir.add(images[name], name)
        contents.append(reservoir.contents())
    (x, names), (y, other_names) = contents
    assert names == other_names
    assert len(names) == 8
    assert all(np.array_equal(one, other) for one, other in zip(x, y, strict=True))
    assert {tiles.shape for tiles in x} == {(3, 1, 16, 16)}


def test_tiles_cover_the_image_and_are_parts_of_it() -> None:
    image = torch.arange(40.0 * 50).view(1, 40, 50) / 2000
    tiles = tiles_of(image, 16)
    assert len(tiles) == 12
    seen = np.unique(tiles.float().numpy())
    assert len(seen) == len(np.unique(image.half().float().numpy()))
    assert torch.equal(tiles[0], image[:, :16, :16].half())
    assert torch.equal(tiles[-1], image[:, -16:, -16:].half())


def test_empty_tiles_come_last() -> None:
    image = torch.zeros(1, 64, 64)
    image[:, 16:32, 16:48] = torch.rand(1, 16, 32, generator=torch.Generator().manual_seed(0))
    for seed in range(5):
        assert all(tile.amax() > tile.amin() for tile in tiles_of(image, 16, limit=2, seed=seed))


def test_small_images_are_reflected() -> None:
    tile = tiles_of(torch.arange(9.0).view(1, 3, 3) / 9, 8)[0, 0].float().numpy()
    expected = np.pad(np.arange(9).reshape(3, 3) / 9, ((2, 3), (2, 3)), mode="reflect")
    assert np.abs(tile - expected).max() < 1e-3


def test_high_pass_equals_scipy_inside() -> None:
    image = np.random.default_rng(0).random((40, 50))
    expected = image - gaussian_filter(image, 1.5, truncate=4)
    found = high_pass(torch.from_numpy(image).float()[None, None])[0, 0].numpy()
    assert np.abs(found - expected[6:-6, 6:-6]).max() < 1e-5


@pytest.mark.parametrize("high_passed", [True, False])
def test_blur_is_seen_and_nothing_is_seen_where_nothing_is(high_passed: bool) -> None:
    def tiles(images: torch.Tensor) -> torch.Tensor:
        return torch.stack([tiles_of(image, TILE) for image in images])

    real, other = tiles(textures(range(30), 64)), tiles(textures(range(30, 60), 64))
    fake = tiles(torch.from_numpy(np.stack([blurred(texture(seed, 64))[None] for seed in range(60, 90)])).float())
    metric = DetectorMetric(FitCNN(high_passed, steps=50), n_splits=2, repeats=1, draws=200)
    state = torch.random.get_rng_state()
    planted = metric(fake, real)
    assert planted.value > 0.95
    assert torch.equal(torch.random.get_rng_state(), state)
    assert metric(fake, real) == planted
    nothing = metric(other, real)
    assert nothing.low < 0.65
    assert nothing.value < 0.8
