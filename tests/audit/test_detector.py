"""The four independent detectors as a user calls them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frerec.audit.detector import INDEPENDENT, detect
from frerec.errors import FreRecError
from frerec.io.datalist import read_datalist
from tests.audit.conftest import save, textures

N = 24


def lattice(images: torch.Tensor, period: int) -> torch.Tensor:
    made = images.clone()
    made[..., ::period, :] += 0.03
    made[..., ::period] += 0.03
    return made.clamp(0, 1)


def test_every_detector_finds_a_lattice_and_none_finds_chance() -> None:
    real, other = textures(range(N), 64), textures(range(N, 2 * N), 64)
    found = detect(real, lattice(other, 4), cnn_steps=40, draws=50)
    assert tuple(found) == INDEPENDENT
    assert all(auc.value > 0.9 for auc in found.values()), found
    chance = detect(real, other, cnn_steps=40, draws=50)
    assert all(auc.low < 0.6 for auc in chance.values()), chance


def test_files_arrays_and_tensors_are_the_same_images(tmp_path: Path) -> None:
    sides = [textures(range(20)), lattice(textures(range(20, 40)), 8)]
    files = []
    for number, side in enumerate(sides):
        files.append([tmp_path / str(number) / f"{i}.png" for i in range(len(side))])
        for path, image in zip(files[-1], side, strict=True):
            save(image[0].numpy(), path)
    arrays = [[np.asarray(Image.open(path)) for path in side] for side in files]
    floats = [torch.from_numpy(np.stack(side)[:, None]).float() / 255 for side in arrays]
    results = [detect(*kind, cnn_steps=0, draws=20) for kind in (files, arrays, floats)]
    assert results[0] == results[1] == results[2]


def test_patients_and_sizes_may_be_anything() -> None:
    real = [*textures(range(12), 64), *textures(range(12, 24), 80)]
    groups = [f"patient {i // 3}" for i in range(24)]
    colour = [[image.expand(3, -1, -1) for image in side] for side in (real, lattice(textures(range(30, 54), 96), 2))]
    found = detect(*colour, groups_real=groups, cnn_steps=40, draws=20)
    assert found["radial"].value > 0.9
    assert {(auc.n, auc.n_reference) for auc in found.values()} == {(24, 24)}


def test_too_few_images_are_refused() -> None:
    with pytest.raises(FreRecError, match="at least 20"):
        detect(textures(range(19)), textures(range(30)))


def test_images_of_an_outside_generator_are_told_and_real_ones_are_not(shared_data: Path) -> None:
    folder = shared_data / "brain_ddpm"
    real = [row["image"] for row in read_datalist(folder / "manifest.csv", split="test")][::12][:40]
    other = [row["image"] for row in read_datalist(folder / "manifest.csv", split="train")][::29][:40]
    made = [row["image"] for row in read_datalist(folder / "synthetic.csv")][::37][:40]
    found = detect(real, made, cnn_steps=120, draws=50)
    assert min(auc.value for auc in found.values()) > 0.85, found
    chance = detect(real, other, cnn_steps=120, draws=50)
    assert max(auc.low for auc in chance.values()) < 0.6, chance
