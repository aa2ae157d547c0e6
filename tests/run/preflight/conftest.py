"""A bank, weights and images that fit each other, small enough to be made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from frerec.rhm.flow import RestorationFlow
from frerec.shr.bank.reference import ReferenceBank


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of an inference run with nothing wrong."""
    root = tmp_path_factory.mktemp("sound")
    rng = np.random.default_rng(0)
    ReferenceBank.build(rng.random((6, 1, 32, 32), dtype=np.float32), root / "bank.safetensors", spatial_dims=2)
    torch.save(RestorationFlow().state_dict(), root / "model.pt")
    images = root / "images"
    images.mkdir()
    for i in range(2):
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(images / f"{i}.png")
    return {
        "dataset_dir": str(images), "output_dir": str(root / "out"), "bank_path": str(root / "bank.safetensors"),
        "weights_path": str(root / "model.pt"), "preset": "compact", "spatial_dims": 2, "channels": 1, "device": "cpu",
        "seed": 0, "batch_size": 2, "num_workers": 0, "amp": False, "overwrite": False, "strength": 0.5,
        "mask_ratio": 0.25, "top_k": 6, "bands": None, "use_network": True,
    }  # fmt: skip


@pytest.fixture(scope="session")
def colour_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one colour picture."""
    folder = tmp_path_factory.mktemp("colour")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "0.png")
    return folder
