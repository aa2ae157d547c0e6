"""A small labelled set of pictures with a known answer, and the loader that the tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

Rows = list[dict[str, Any]]


def load_picture(data: dict[str, Any]) -> dict[str, Any]:
    """An independent loader: Pillow, channel first, [0, 1]."""
    array = np.asarray(Image.open(data["image"]), dtype=np.float32) / 255
    return {**data, "image": torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())}


@pytest.fixture(scope="session")
def picture_loader() -> Callable[[dict[str, Any]], dict[str, Any]]:
    return load_picture


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Rows]:
    """Make pictures whose class is the direction of faint stripes under noise; returns rows of a datalist."""

    def make(
        split: str, per_class: int, classes: int = 2, size: int = 32, colour: bool = False, contrast: float = 0.12
    ) -> Rows:
        folder = tmp_path_factory.mktemp(f"{split}_pictures")
        rng = np.random.default_rng(len(split) * 1000 + per_class + classes)
        across, down = np.meshgrid(np.arange(size), np.arange(size))
        rows: Rows = []
        for label in range(classes):
            (folder / f"class{label}").mkdir()
            for i in range(per_class):
                angle = np.pi * label / classes
                phase = rng.uniform(0, 2 * np.pi)
                stripes = np.sin((across * np.cos(angle) + down * np.sin(angle)) * 2 * np.pi / 6 + phase)
                image = 0.5 + contrast * stripes + 0.15 * rng.normal(size=(3 if colour else 1, size, size))
                pixels = (image.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
                path = folder / f"class{label}" / f"{i:03d}.png"
                Image.fromarray(pixels if colour else pixels[..., 0]).save(path)
                patient = f"{split}{label}_{i // 2}"
                rows.append({"image": str(path), "label": f"class{label}", "split": split, "patient": patient})
        return rows

    return make
