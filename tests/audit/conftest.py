"""Small sets of made-up images whose differences are known, because they were planted."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

SIZE = 48


def texture(seed: int, size: int = SIZE) -> np.ndarray:
    """One "real" image: smooth shapes, fine texture and an individual brightness, float64 (size, size) in [0, 1]."""
    random = np.random.default_rng(seed)
    smooth = gaussian_filter(random.standard_normal((size, size)), size / 10, mode="wrap")
    fine = gaussian_filter(random.standard_normal((size, size)), 0.7, mode="wrap")
    image = 0.5 + 0.12 * random.standard_normal() + 1.2 * smooth + (0.04 + 0.02 * random.random()) * fine
    return np.clip(image, 0, 1)


def textures(seeds: range, size: int = SIZE) -> torch.Tensor:
    """float32 (N, 1, size, size)."""
    return torch.from_numpy(np.stack([texture(seed, size)[None] for seed in seeds])).float()


def blurred(image: np.ndarray) -> np.ndarray:
    """What a weak generator does to an image: no fine texture, but a checkerboard."""
    rows, columns = np.indices(image.shape)
    return np.clip(gaussian_filter(image, 1.2, mode="wrap") + 0.01 * (1 - 2 * ((rows + columns) % 2)), 0, 1)


def save(image: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(255 * image).astype(np.uint8)).save(path)


@dataclass(frozen=True)
class PlantedSets:
    """Folders of 24 test and 20 training images, 24 blurred ones, and both sides "recalibrated" (sharpened noise)."""

    root: Path

    @property
    def datalist(self) -> Path:
        return self.root / "datalist.csv"

    def __getattr__(self, name: str) -> Path:
        return self.root / name


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> PlantedSets:
    root = tmp_path_factory.mktemp("planted")
    rows = []
    for index in range(44):
        split, label = ("test", "train")[index >= 24], ("bright", "dark")[index % 2]
        image = np.clip(texture(index) + (0.1 if label == "bright" else -0.1), 0, 1)
        save(image, root / "real" / f"{index:02d}.png")
        rows.append([f"real/{index:02d}.png", label, split, f"patient {index // 2}"])
        if split == "test":
            save(np.clip(image + 0.003, 0, 1), root / "recalibrated_real" / "real" / f"{index:02d}.png")
    with (root / "datalist.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "label", "split", "patient"], *rows])
    for index in range(24):
        image = texture(100 + index)
        save(blurred(image), root / "synthetic" / f"s{index:02d}.png")
        save(image, root / "recalibrated" / f"s{index:02d}.png")
    return PlantedSets(root)


@pytest.fixture(scope="session")
def make_texture() -> Callable[..., np.ndarray]:
    return texture
