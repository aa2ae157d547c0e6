from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from frerec.preflight.images import check_images


def test_channels_of_the_images(sound: dict[str, Any], colour_dir: Path) -> None:
    assert check_images(sound) == []
    (problem,) = check_images({**sound, "dataset_dir": str(colour_dir)})
    assert str(problem).startswith("channels=1:")
    assert "has 3 channels" in str(problem)
    assert "--channels 3" in problem.remedy
    (problem,) = check_images({**sound, "channels": 3})
    assert "has 1 channel." in str(problem)
    assert check_images({**sound, "channels": None, "dataset_dir": str(colour_dir)}) == []


def test_gray_saved_as_colour_is_no_problem(sound: dict[str, Any], tmp_path: Path) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (8, 8, 1), dtype=np.uint8)
    Image.fromarray(gray.repeat(3, axis=2)).save(tmp_path / "0.png")
    assert check_images({**sound, "dataset_dir": str(tmp_path)}) == []


def test_a_broken_first_image_is_left_to_the_run(sound: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert check_images({**sound, "dataset_dir": str(tmp_path)}) == []


def test_volumes(sound: dict[str, Any]) -> None:
    (problem,) = check_images({**sound, "spatial_dims": 3})
    assert "is no volume" in str(problem)
