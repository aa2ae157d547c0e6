"""A few small made-up images and a bank of them, enough to wire every workflow."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from frerec.rhm.flow import RestorationFlow
from frerec.shr.bank.reference import ReferenceBank

SIZE = 64


@dataclass(frozen=True)
class SmallCohort:
    """Folder of 24 PNG files, its datalist (18 train, 6 val), a bank of them, and weights of an untrained network."""

    folder: Path
    datalist: Path
    bank: Path
    weights: Path


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> SmallCohort:
    root = tmp_path_factory.mktemp("cohort")
    folder = root / "real"
    folder.mkdir()
    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    images = []
    for index in range(24):
        # Discs on a gentle ground: edges are what a network can learn to bring back.
        image = 0.3 + gaussian_filter(random.standard_normal((SIZE, SIZE)), 8, mode="wrap")
        for _ in range(6):
            row, column, radius = random.uniform(0, SIZE), random.uniform(0, SIZE), random.uniform(4, 14)
            image += random.uniform(0.1, 0.3) * ((y - row) ** 2 + (x - column) ** 2 < radius**2)
        pixels = np.round(255 * np.clip(gaussian_filter(image, 0.6), 0, 1)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02d}.png")
        images.append(pixels[None].astype(np.float32) / 255)
    datalist = folder / "datalist.csv"
    with datalist.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label", "split", "patient"])
        rows.writerows([f"{index:02d}.png", "none", "train" if index < 18 else "val", index] for index in range(24))
    bank, weights = root / "bank.safetensors", root / "model.pt"
    ReferenceBank.build(images, bank)
    torch.save(RestorationFlow(profile=ReferenceBank.open(bank).mean_profile).state_dict(), weights)
    return SmallCohort(folder, datalist, bank, weights)
