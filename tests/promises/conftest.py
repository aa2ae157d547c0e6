"""A small bank, network and folder with which inference.json runs in seconds, and the means to run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from frerec.rhm.flow import RestorationFlow
from frerec.shr.bank.reference import ReferenceBank

ROOT = Path(__file__).resolve().parents[2]


def texture(rng: np.random.Generator, shape: tuple[int, ...], smooth: float) -> np.ndarray:
    """Noise with a falling spectrum, in [0, 1]."""
    field = gaussian_filter(rng.standard_normal(shape), smooth) + 0.05 * rng.standard_normal(shape)
    return ((field - field.min()) / (field.max() - field.min())).astype(np.float32)


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Overrides that make inference.json use a small bank and a compact network with random weights."""
    root = tmp_path_factory.mktemp("artefacts")
    rng = np.random.default_rng(0)
    images = [texture(rng, (1, 64, 64), 1.0) for _ in range(12)]
    ReferenceBank.build(images, root / "bank.safetensors", spatial_dims=2)
    generator_state = torch.get_rng_state()
    torch.manual_seed(0)
    network = RestorationFlow(profile=ReferenceBank.open(root / "bank.safetensors").mean_profile)
    # untrained, it would return its input and hide every difference
    torch.nn.init.normal_(network.velocity.output.weight, std=0.02)
    torch.set_rng_state(generator_state)
    torch.save(network.state_dict(), root / "model.pt")
    return {"bank_path": str(root / "bank.safetensors"), "weights_path": str(root / "model.pt"), "top_k": 8}


@pytest.fixture(scope="session")
def mixed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images: pictures of two sizes, two slices and a volume in floating point, one broken file, one note."""
    root = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(1)
    for i in range(5):
        path = root / ("sub" if i % 2 else "") / f"picture_{i}.png"
        path.parent.mkdir(exist_ok=True)
        shape = (48, 40) if i % 2 else (64, 64)
        Image.fromarray((texture(rng, shape, 2.0) * 255).astype(np.uint8)).save(path)
    for i, shape in enumerate([(40, 48), (40, 48), (32, 32, 4)]):
        nib.save(nib.Nifti1Image(texture(rng, shape, 2.0) * 900, np.diag([-1.0, 1, 2, 1])), root / f"scan_{i}.nii.gz")
    (root / "sub" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (root / "notes.txt").write_text("not an image")
    return root


def tree(folder: Path) -> dict[str, Any]:
    """Everything below an output folder: files by content, manifest lines without their times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith("manifest") and path.suffix == ".jsonl":
            for line in path.read_text().splitlines():
                record = json.loads(line)
                found[f"line of {record['path']}"] = {
                    key: value for key, value in record.items() if key not in ("seconds", "finished")
                }
        elif path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


@pytest.fixture(scope="session")
def output_tree() -> Callable[[Path], dict[str, Any]]:
    """What is compared of two output folders."""
    return tree


@pytest.fixture(scope="session")
def inference_config() -> str:
    """Path of the workflow."""
    return str(ROOT / "configs" / "inference.json")
