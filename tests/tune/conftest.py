"""Planted problems: stripes under noise show the class; the generated images have a known virtue or fault."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frerec.shr.bank.reference import ReferenceBank
from frerec.study.regime import RareClass
from frerec.study.runner import DownstreamStudy
from frerec.study.training import Schedule
from frerec.tune.candidates import make_candidates
from frerec.tune.tuner import Tuner
from tests.study.conftest import load_picture

SIZE = 32
Rows = list[dict[str, str]]


def draw(
    folder: Path, counts: tuple[int, int], seed: int, split: str, lattice: float = 0.0, swap: bool = False
) -> Rows:
    """Pictures of two classes; ``lattice`` is the height of a chessboard, ``swap`` shows the other class."""
    rng, rows = np.random.default_rng(seed), Rows()
    y, x = np.mgrid[:SIZE, :SIZE]
    for label, count in enumerate(counts):
        (folder / f"class{label}").mkdir(parents=True)
        for i in range(count):
            along = (x, y)[1 - label if swap else label]
            image = 0.5 + 0.12 * np.sin(along * 2 * np.pi / 8 + rng.uniform(0, 2 * np.pi))
            image = image + 0.15 * rng.normal(size=(SIZE, SIZE)) + lattice * (1 - 2 * ((x + y) % 2))
            path = folder / f"class{label}" / f"{i:03d}.png"
            Image.fromarray((image.clip(0, 1) * 255).round().astype(np.uint8)).save(path)
            rows.append({"image": str(path), "label": f"class{label}", "split": split, "patient": f"{split}{label}{i}"})
    return rows


@dataclass(frozen=True)
class Planted:
    """Real images with a rare class1, generated images by what is planted in them, and a bank."""

    real: Rows
    made: dict[str, Path]
    datalist: Path
    bank: Path


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    root = tmp_path_factory.mktemp("planted")
    rows = [
        *draw(root / "train", (80, 20), 1, "train"),
        *draw(root / "val", (60, 60), 2, "val"),
        *draw(root / "test", (2, 2), 3, "test"),
    ]
    for row in rows:
        if row["split"] == "test":
            Path(row["image"]).write_bytes(b"nobody may look at this")
    faults: dict[str, dict[str, Any]] = {"equal": {}, "lattice": {"lattice": 0.3}, "wrong": {"swap": True}}
    for name, fault in faults.items():
        draw(root / name, (4, 80), 4, "", **fault)
    with (root / "list.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    train = [load_picture(row)["image"] for row in rows if row["split"] == "train"]
    ReferenceBank.build(train, root / "bank.safetensors")
    return Planted(rows, {name: root / name for name in faults}, root / "list.csv", root / "bank.safetensors")


@pytest.fixture(scope="session")
def make_tuner(planted: Planted) -> Callable[..., Tuner]:
    """A tuner for one of the planted sets; further settings as of :class:`Tuner`."""

    def make(
        kind: str, folder: Path, seeds: int = 2, steps: int = 24, rare: RareClass | None = None, **settings: Any
    ) -> Tuner:
        made = [{"image": str(p), "label": p.parent.name} for p in sorted(planted.made[kind].rglob("*.png"))]
        study = partial(
            DownstreamStudy, planted.real, load_picture, output_dir=folder, synthetic_cases=made, seeds=range(seeds),
            image_size=SIZE, schedule=Schedule(max_steps=steps, batch_size=16, validations=2), draws=300,
            rare=rare or RareClass("class1", (1.0,)), judged_on="val",
        )  # fmt: skip
        return Tuner(
            study,
            make_candidates([0.3, 1.0], [0.1, 0.5], [0.1], ["shr"]),
            {"bank_path": str(planted.bank), "top_k": 4},
            **{"recalibrate": ["synthetic"], "keep": 2, "budget_minutes": 1000, **settings},
        )

    return make
