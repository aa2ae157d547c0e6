"""Ringing against pictures of scikit-image and cuts made by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.transform import resize

from frerec.audit.artefacts import RINGING, SMALLEST, ringing
from frerec.audit.verdict import RINGING as LIMITS

SIZE = 128


def scene(seed: int) -> np.ndarray:
    """A part of a photograph with an outline of its own and some grain, (1, SIZE, SIZE) in [0, 1]."""
    rng = np.random.default_rng(seed)
    top, left = rng.integers(0, 512 - 2 * SIZE, 2)
    part = resize(data.camera()[top : top + 2 * SIZE, left : left + 2 * SIZE] / 255, (SIZE, SIZE), anti_aliasing=True)
    rows, columns = np.indices(part.shape)
    disc = np.hypot(rows - rng.uniform(50, 78), columns - rng.uniform(50, 78)) < rng.uniform(25, 40)
    # opposite borders differ, as they do in a radiograph
    tilt = 0.3 * (rows + columns) / (2 * SIZE)
    image = (
        0.1
        + tilt
        + 0.2 * part
        + 0.3 * gaussian_filter(disc.astype(float), 0.7)
        + 0.01 * rng.standard_normal(part.shape)
    )
    return np.clip(image, 0, 1)[None]


def cut(image: np.ndarray, limit: float) -> np.ndarray:
    """Without any frequency above ``limit`` (fractions of Nyquist): rings beside edges and, wrapped, along borders."""
    spectrum = fft.fft2(image)
    frequency = np.hypot(2 * fft.fftfreq(SIZE)[:, None], 2 * fft.fftfreq(SIZE))
    return np.clip(fft.ifft2(np.where(frequency > limit, 0, spectrum)).real, 0, 1)


@pytest.fixture(scope="module")
def scenes() -> list[np.ndarray]:
    return [scene(seed) for seed in range(24)]


def levels(images: list[np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip(RINGING, np.stack([ringing(image) for image in images]).T, strict=True))


@pytest.mark.parametrize("limit", [0.25, 0.4])
def test_a_sharp_cut_rings_at_edges_and_borders(scenes: list[np.ndarray], limit: float) -> None:
    real, made = levels(scenes), levels([cut(image, limit) for image in scenes])
    for kind in RINGING:
        assert np.mean(made[kind] - real[kind]) > LIMITS[kind] + 0.05, kind
        assert np.mean(made[kind] > real[kind]) > 0.7, kind


def test_neither_blur_nor_noise_nor_contrast_rings(scenes: list[np.ndarray]) -> None:
    real, rng = levels(scenes), np.random.default_rng(0)
    changed = {
        "blur": [gaussian_filter(image, (0, 1.2, 1.2), mode="reflect") for image in scenes],
        "noise": [image + 0.02 * rng.standard_normal(image.shape) for image in scenes],
        "brightness": [0.5 * image + 0.1 for image in scenes],
    }
    for name, images in changed.items():
        found = levels(images)
        for kind in RINGING:
            assert np.mean(found[kind] - real[kind]) < LIMITS[kind], (name, kind)


def test_halves_of_the_same_images_are_equal_within_their_spread(scenes: list[np.ndarray]) -> None:
    real = levels(scenes)
    for values in real.values():
        error = values.std(ddof=1) * np.sqrt(2 / 12)
        assert abs(values[::2].mean() - values[1::2].mean()) < 3 * error


def test_what_cannot_be_measured_is_told_so() -> None:
    assert np.isnan(ringing(np.zeros((1, SMALLEST - 1, 200)))).all()
    flat = ringing(np.full((1, 80, 80), 0.5))
    assert np.isnan(flat[0])
    assert flat[1] == pytest.approx(0, abs=1e-6)
