"""What little resembles its input is not written as done; the figures are those of numpy and scikit-image."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from frerec.errors import ConfigError
from frerec.io.likeness import REFUSED, Likeness, combine, unlike
from frerec.io.loader import LoadMedicalImage
from frerec.io.writer import SaveRecalibrated
from tests.io.dicom.objects import save_series


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_parts_add_up_to_numpys_and_skimages_figures(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    old = [1e5 + 100 * random.standard_normal((random.integers(1, 30), 7)) for _ in range(count)]
    new = [part + random.uniform(0, 50) * random.standard_normal(part.shape) for part in old]
    whole = combine(Likeness.of(a, b, b) for a, b in zip(old, new, strict=True))
    a, b = np.concatenate(old).ravel(), np.concatenate(new).ravel()
    assert whole.count == a.size
    assert whole.correlation == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)
    assert whole.psnr_db((1e5, 1e5 + 300)) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=300), abs=1e-6)


def test_unchanged_constant_and_empty() -> None:
    image = np.arange(12.0)
    assert Likeness.of(image, image, image).correlation == 1.0
    assert math.isinf(Likeness.of(image, image, image).psnr_db((0, 11)))
    gone = Likeness.of(image, np.zeros(12), image)
    assert gone.correlation == 0.0
    assert "correlation with the input is 0.00" in str(unlike(gone, (0, 11), REFUSED))
    assert combine([]) == Likeness() == Likeness.of(image[:0], image[:0], image[:0])


def test_values_cut_off_are_told() -> None:
    image = np.linspace(0, 100, 1000)
    stored = np.minimum(image, 70)
    assert "values were cut off" in str(unlike(Likeness.of(image, stored, image, 100.0), (0, 100), REFUSED))


def test_rounding_is_not_cutting() -> None:
    wanted = np.random.default_rng(0).uniform(0, 6, 500)
    assert Likeness.of(wanted, np.rint(wanted), wanted, width=6.0, step=1.0).cut == 0
    assert Likeness.of(wanted, np.minimum(np.rint(wanted), 4), wanted, width=6.0, step=1.0).cut > 50


def gray(folder: Path) -> Path:
    y, x = np.mgrid[:60, :70]
    values = 120 + 80 * np.sin(x / 11) * np.cos(y / 9) + np.random.default_rng(0).normal(0, 4, y.shape)
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(folder / "a.png")
    return folder / "a.png"


def noise(like: torch.Tensor, around: float) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(1)) * 60 + around


@pytest.mark.parametrize("kind", ["picture", "series"])
def test_noise_in_place_of_an_image_is_refused_and_nothing_is_written(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "in"
    source.mkdir()
    random = np.random.default_rng(0).normal(500, 100, (5, 20, 30)).astype(np.int16)
    image = LoadMedicalImage(source)(gray(source) if kind == "picture" else save_series(source / "s", random))
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=r"little to do with its input.*--verify_output False"):
        SaveRecalibrated(str(out))(noise(image, 120.0), image.meta)
    assert not list(out.rglob("*.*"))
    written = SaveRecalibrated(str(out), verify_output=False)(noise(image, 120.0), image.meta)
    assert written.files
    assert any("little to do with its input" in warning for warning in written.warnings)
    assert written.likeness["correlation"] < 0.3


def test_a_mild_change_is_written_with_its_figures(tmp_path: Path) -> None:
    image = LoadMedicalImage(tmp_path)(gray(tmp_path))
    better = image + 2 * noise(image, 0.0) / 60
    written = SaveRecalibrated(str(tmp_path / "out"))(better, image.meta)
    old = np.asarray(Image.open(tmp_path / "a.png"), np.float64)
    new = np.asarray(Image.open(tmp_path / "out" / "a.png"), np.float64)
    width = np.ptp(np.percentile(old, [0.5, 99.5]))
    assert written.likeness["correlation"] == pytest.approx(np.corrcoef(old.ravel(), new.ravel())[0, 1], abs=1e-4)
    assert written.likeness["psnr_db"] == pytest.approx(peak_signal_noise_ratio(old, new, data_range=width), abs=0.01)
    assert written.warnings == ()
