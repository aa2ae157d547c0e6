"""Promise: images too large to pass a network whole come to no harm where no network is used."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from tests.conftest import BundleCommand
from tests.promises.conftest import texture

SIZES = {"square.png": (1100, 1100), "wide.png": (300, 1100), "tall.png": (1033, 77), "small.png": (64, 64)}


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures and a volume, most of them longer than 1024 on a side."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(3)

    for name, shape in SIZES.items():
        Image.fromarray((255 * texture(rng, shape, 1.0)).astype(np.uint8)).save(folder / name)
    volume = 900 * texture(rng, (1060, 40, 3), 1.0)
    nib.save(nib.Nifti1Image(volume, np.diag([-1.0, 1, 2, 1])), folder / "volume.nii.gz")
    return folder


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path) if path.suffix == ".png" else nib.load(path).dataobj)  # type: ignore[attr-defined]


def test_passed_through_they_keep_every_value(
    large_folder: Path, inference_config: str, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    words = ("run", "--config_file", inference_config, "--dataset_dir", large_folder, "--output_dir", tmp_path)
    bundle_command(*words, "--strength", "0", "--use_network", "False")
    for path in sorted(large_folder.iterdir()):
        assert np.array_equal(pixels(tmp_path / path.name), pixels(path)), path.name


def test_replacement_alone_leaves_the_picture_there(
    large_folder: Path, artefacts: dict[str, str], inference_config: str, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    words = ("run", "--config_file", inference_config, "--dataset_dir", large_folder, "--output_dir", tmp_path)
    settings = ("--bank_path", artefacts["bank_path"], "--top_k", "8", "--strength", "0.1")
    bundle_command(*words, *settings, "--use_network", "False")
    for path in sorted(large_folder.iterdir()):
        before, after = pixels(path), pixels(tmp_path / path.name)
        assert not np.array_equal(after, before), path.name
        psnr = peak_signal_noise_ratio(before.astype(np.float64), after.astype(np.float64), data_range=np.ptp(before))
        assert psnr > 25, f"{path.name}: {psnr:.1f} dB"
