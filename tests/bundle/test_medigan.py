"""The how-to for medigan: its entry is a model that medigan itself runs, and its commands do what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import BundleCommand

MODEL = "frerec_chest_xray"


@pytest.fixture(scope="module")
def blocks(bundle_root: Path) -> dict[str, list[str]]:
    """The code of the page, by language."""
    page = (bundle_root / "docs" / "how-to" / "use_with_medigan.md").read_text()
    found: dict[str, list[str]] = {}
    for language, code in re.findall(r"^```(\w+)\n(.*?)\n```$", page, re.M | re.S):
        found.setdefault(language, []).append(code)
    return found


@pytest.fixture
def folder(blocks: dict[str, list[str]], bundle_root: Path, tmp_path: Path) -> Path:
    """A folder with the entry, as the page says."""
    package = tmp_path / "models" / MODEL / MODEL
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(blocks["python"][-1])
    shutil.copy(bundle_root / "models" / "generator" / "model.pt", package / "generator.pt")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "global.json").write_text(blocks["json"][0])
    return tmp_path


def test_the_entry_generates_recalibrated_images(folder: Path) -> None:
    path = folder / "models" / MODEL / MODEL
    spec = importlib.util.spec_from_file_location(MODEL, path / "__init__.py")
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    entry = json.loads((folder / "config" / "global.json").read_text())[MODEL]["execution"]
    assert (path / f"{entry['model_name']}{entry['extension']}").is_file()
    made = {}
    for strength in (0.0, 1.0):
        (folder / str(strength)).mkdir()
        torch.manual_seed(3)
        images = package.generate(str(path / "generator.pt"), 2, str(folder / str(strength)), True, strength=strength)
        written = sorted((folder / str(strength)).iterdir())
        assert len(images) == len(written) == 2
        assert images[0].shape == (256, 256) and images[0].dtype == np.uint8
        made[strength] = {file.name: np.asarray(Image.open(file)).astype(float) for file in written}
    assert made[0.0].keys() == made[1.0].keys(), "the same seeds"
    assert all(2 < np.abs(made[0.0][name] - made[1.0][name]).mean() < 40 for name in made[0.0])


def test_medigan_runs_the_entry_and_the_commands_of_the_page(
    folder: Path, blocks: dict[str, list[str]], bundle_command: BundleCommand, bundle_root: Path
) -> None:
    if importlib.util.find_spec("medigan") is None or importlib.util.find_spec("pkg_resources") is None:
        pytest.skip("needs medigan and the pkg_resources it imports: pip install medigan 'setuptools<81'")
    as_files, in_memory = (
        re.sub(r"00020\w+", MODEL, code).replace("=200", "=3").replace("=8", "=1") for code in blocks["python"][:2]
    )
    in_memory += "\nassert image.shape == (256, 256), image.shape"
    for code in (as_files, in_memory):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(bundle_root / "bundle"), str(folder)])},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    (command,) = blocks["bash"]
    assert command.split()[0] == "frerec"
    bundle_command(*command.split()[1:], "--device", "cpu", cwd=folder, module="frerec")
    assert len(list((folder / "recalibrated").rglob("*.png"))) == 3
