"""Real chest X-rays at half size, for what made-up images cannot show."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture(scope="session")
def chest_images(shared_data: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """160 training and 24 test images, no patient in both, float32 (N, 1, 128, 128) in [0, 1]."""
    folder = shared_data / "chest_xray"
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def load(split: str, step: int, count: int) -> torch.Tensor:
        chosen = [row["image"] for row in rows if row["split"] == split][::step][:count]
        pixels = [np.asarray(Image.open(folder / name).reduce(2), dtype=np.float32) / 255 for name in chosen]
        return torch.from_numpy(np.stack(pixels)[:, None])

    return load("train", 3, 160), load("test", 8, 24)
