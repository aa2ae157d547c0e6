"""The library's five lines: the same pixels as the workflow, for files, arrays, tensors and batches."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

import frerec
from frerec.errors import ConfigError, FreRecError


@pytest.fixture(scope="module")
def recalibrate() -> Any:
    return frerec.Recalibrate.from_bundle(strength=0.4, mask_ratio=0.3)


def picture(seed: int, size: int = 96) -> np.ndarray:
    """A smooth 8 bit picture with some texture."""
    noise = np.random.default_rng(seed).standard_normal((size, size))
    smooth = gaussian_filter(noise, 6, mode="wrap")
    return np.uint8(np.clip(128 + 60 * smooth / smooth.std() * 0.6 + 3 * gaussian_filter(noise, 0.7), 0, 255))


def test_a_file_gets_the_pixels_of_the_workflow(recalibrate: Any, tmp_path: Path, bundle_command: Any) -> None:
    (tmp_path / "in").mkdir()
    for seed in range(2):
        Image.fromarray(picture(seed)).save(tmp_path / "in" / f"{seed}.png")
    folders = ["--dataset_dir", tmp_path / "in", "--output_dir", tmp_path / "out"]
    bundle_command("inference", *folders, "--strength", 0.4, "--mask_ratio", 0.3, module="frerec")
    for seed in range(2):
        better = recalibrate(frerec.load_image(tmp_path / "in" / f"{seed}.png"))
        told = frerec.save_image(better, tmp_path / "mine" / f"{seed}.png").provenance
        assert told["settings"]["strength"] == 0.4
        assert "drawn" in told["sample"]
        mine, theirs = (np.asarray(Image.open(tmp_path / name / f"{seed}.png")) for name in ("mine", "out"))
        assert np.array_equal(mine, theirs)
        assert not np.array_equal(mine, picture(seed))


def test_arrays_tensors_and_batches_agree(recalibrate: Any) -> None:
    images = np.stack([picture(seed) for seed in range(3)])
    alone = [recalibrate(image) for image in images]
    assert all(one.dtype == np.uint8 and one.shape == (96, 96) for one in alone)
    batch = recalibrate(torch.from_numpy(images)[:, None])
    assert batch.dtype == torch.uint8 and np.array_equal(batch[:, 0].numpy(), np.stack(alone))
    listed = recalibrate(list(images))
    assert all(np.array_equal(a, b) for a, b in zip(listed, alone, strict=True))
    real = recalibrate(images[0].astype(np.float32) / 255)
    assert real.dtype == np.float32 and real.min() >= 0 and real.max() <= 1
    assert np.abs(real * 255 - alone[0]).max() < 6  # not rounded, and so not corrected for rounding
    volume = recalibrate(np.moveaxis(images, 0, -1)[None])
    assert volume.shape == (1, 96, 96, 3)


def test_strength_zero_changes_nothing() -> None:
    still = frerec.Recalibrate.from_bundle(strength=0.0)
    assert np.array_equal(still(picture(1)), picture(1))


def test_what_does_not_fit_is_told(recalibrate: Any, tmp_path: Path) -> None:
    with pytest.raises(FreRecError, match=r"shape \(3, 96, 96\) does not fit a bank of 1 channels"):
        recalibrate(np.zeros((3, 96, 96), np.uint8))
    with pytest.raises(FreRecError, match="int16 have no range"):
        recalibrate(np.zeros((96, 96), np.int16))
    with pytest.raises(FreRecError, match="values from 0 to 7"):
        recalibrate(np.linspace(0, 7, 96 * 96, dtype=np.float32).reshape(96, 96))
    with pytest.raises(ConfigError, match="not of a network of preset small"):
        frerec.Recalibrate.from_bundle(preset="small")
    with pytest.raises(FreRecError, match="weights cannot be read"):
        frerec.Recalibrate.from_bundle(weights_path=tmp_path / "none.pt")


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/use_from_python.md"])
def test_the_lines_of_the_documentation_run(
    page: str, bundle_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (bundle_root / page).read_text(), re.M | re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(3)).save("chest.png")
    known: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), known)
    made = np.asarray(Image.open("recalibrated/chest.png"))
    assert made.shape == (96, 96) and not np.array_equal(made, picture(3))


def test_every_public_name_is_there_and_in_the_reference(bundle_root: Path) -> None:
    page = (bundle_root / "docs" / "reference" / "python.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.M)) == set(frerec.__all__)
    for name in frerec.__all__:
        assert getattr(frerec, name).__doc__
