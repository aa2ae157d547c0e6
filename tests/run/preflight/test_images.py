from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from frerec.run.preflight.images import check_images


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


def test_a_folder_that_begins_with_other_images(sound: dict[str, Any], colour_dir: Path, tmp_path: Path) -> None:
    colour, gray = (colour_dir / "0.png").read_bytes(), (Path(sound["dataset_dir"]) / "0.png").read_bytes()
    for i in range(40):
        (tmp_path / f"{i:02d}.png").write_bytes(gray if i == 32 else colour)
    assert len(check_images({**sound, "dataset_dir": str(tmp_path)})) == 1, "not among the images of the sample"
    for i in range(20, 40):
        (tmp_path / f"{i:02d}.png").write_bytes(gray)
    assert check_images({**sound, "dataset_dir": str(tmp_path)}) == []


def test_a_folder_of_which_nothing_fits_is_told_with_how_much_was_seen(
    sound: dict[str, Any], colour_dir: Path, tmp_path: Path
) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes((colour_dir / "0.png").read_bytes())
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (problem,) = check_images({**sound, "dataset_dir": str(tmp_path)})
    assert "none of the 3 images of dataset_dir that were looked at fits: it has 3 channels" in str(problem)


def test_whatever_a_reader_raises_for_the_first_image_is_left_to_the_run(sound: dict[str, Any], tmp_path: Path) -> None:
    # a NIfTI header whose dimensions ask for more memory than there is: MemoryError, not InputError
    header = nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)).header
    header["dim"] = [3, 32767, 32767, 32767, 1, 1, 1, 1]
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(64))
    assert check_images({**sound, "dataset_dir": str(tmp_path)}) == []
