"""Plain parts to run a folder with, so that the machinery is tested apart from the method."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from PIL import Image

from frerec.errors import InputError
from frerec.files import atomic_write, file_sha256
from frerec.io.provenance import run_settings
from frerec.io.records import note
from frerec.io.writer import Written
from frerec.run.evaluator import FolderEvaluator
from frerec.run.folder import FolderDataset, keep_as_list
from frerec.run.handlers import ManifestHandler, RunReport
from frerec.run.manifest import Manifest


def make_folder(folder: Path, count: int = 6, sizes: tuple[tuple[int, int], ...] = ((16, 16), (12, 20))) -> Path:
    """Write gray pictures of differing sizes, some in a subfolder."""
    rng = np.random.default_rng(0)
    for i in range(count):
        path = folder / ("sub" if i % 3 == 2 else "") / f"image_{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, sizes[i % len(sizes)], dtype=np.uint8)).save(path)
    return folder


def load(data: dict[str, Any]) -> dict[str, Any]:
    path = Path(data["image"])
    try:
        array = np.asarray(Image.open(path).convert("L"), dtype=np.float32) / 255
    except OSError as error:
        raise InputError(path, "not a readable picture", "Replace it") from error
    image = MetaTensor(torch.from_numpy(array)[None])
    note(image, shr={"index": int(array.sum()) % 7})
    return {**data, "image": image}


class Save:
    """Writes ``pred`` as PNG under the item's relative path."""

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        target = self.output_dir / data["relative_path"]
        with atomic_write(target) as stream:
            Image.fromarray((data["pred"][0].numpy() * 255).round().astype(np.uint8)).save(stream, "PNG")
        return {**data, "saved": [Written(((str(target), file_sha256(target)),))]}


class Invert(torch.nn.Module):
    """A network whose effect is easily seen."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1 - x


def run_folder(dataset_dir: Path, output_dir: Path, **options: Any) -> tuple[RunReport, Manifest]:
    """Run a folder as inference.json does, with plain parts. Options: what can be replaced."""
    manifest = Manifest(
        output_dir,
        run_settings(**options.pop("settings", {"strength": 0.5})),
        overwrite=options.pop("overwrite", False),
        shard_index=options.pop("shard_index", 0),
        shard_count=options.pop("shard_count", 1),
    )
    dataset = FolderDataset(str(dataset_dir), options.pop("transform", load), manifest)
    report = RunReport(len(dataset), manifest, options.pop("stream", None))
    loader = DataLoader(
        dataset,
        batch_size=options.pop("batch_size", 2),
        num_workers=options.pop("num_workers", 0),
        collate_fn=keep_as_list,
    )
    network = options.pop("network", Invert())
    FolderEvaluator(
        "cpu", loader, network, str(output_dir), options.pop("saver", Save(output_dir)),
        postprocessing=options.pop("postprocessing", None),
        val_handlers=[ManifestHandler(manifest), report, *options.pop("handlers", [])],
    ).run()  # fmt: skip
    assert not options, f"unknown options {sorted(options)}"
    return report, manifest


def tree(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="session")
def plain() -> SimpleNamespace:
    """The parts above for tests, which cannot import a conftest."""
    return SimpleNamespace(load=load, Save=Save, Invert=Invert, make_folder=make_folder, run=run_folder, tree=tree)
