"""Generated sets: resumable, the beginning of a longer set, and marked synthetic."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from frerec.errors import ConfigError
from frerec.io.loader import LoadMedicalImage
from frerec.io.origin import declared_origin
from frerec.run.generated import GeneratedSet


class NoiseSampler:
    """A sampler with the interface of the real generator that draws noise and counts."""

    def __init__(self) -> None:
        self.class_names = ["healthy", "ill"]
        self.drawn = 0

    def sample(self, labels: Sequence[int], seeds: Sequence[int]) -> torch.Tensor:
        self.drawn += len(seeds)
        images = [torch.rand(1, 12, 10, generator=torch.Generator().manual_seed(s)) for s in seeds]
        return torch.stack(images)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    return path


def digests(folder: Path) -> dict[str, str]:
    pictures = folder.rglob("*.png")
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in pictures}


def test_a_set_and_its_datalist(tmp_path: Path, weights: Path) -> None:
    assert GeneratedSet(NoiseSampler(), tmp_path / "set", weights, count=5).run() == 5
    rows = list(csv.DictReader((tmp_path / "set" / "datalist.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == ["healthy", "ill", "healthy", "ill", "healthy"]
    assert all((tmp_path / "set" / row["image"]).is_file() for row in rows)
    assert len({row["seed"] for row in rows}) == 5


def test_every_picture_says_that_it_is_synthetic(tmp_path: Path, weights: Path) -> None:
    GeneratedSet(NoiseSampler(), tmp_path / "set", weights, count=1).run()
    (picture,) = (tmp_path / "set").rglob("*.png")
    with Image.open(picture) as image:
        records = [json.loads(t) for t in image.info.values() if isinstance(t, str) and t.startswith("{")]
    assert [record["synthetic"] for record in records] == [True]
    source = LoadMedicalImage()(picture).meta["frerec"]["source"]
    synthetic, generator = declared_origin(source)
    assert synthetic
    assert generator is not None
    assert generator.version == hashlib.sha256(weights.read_bytes()).hexdigest()[:16]


def test_resume_makes_only_what_is_missing_and_the_same(tmp_path: Path, weights: Path) -> None:
    GeneratedSet(NoiseSampler(), tmp_path / "whole", weights, count=6).run()
    GeneratedSet(NoiseSampler(), tmp_path / "set", weights, count=3).run()
    (tmp_path / "set" / "ill" / "ill_000001.png").write_bytes(b"torn")
    sampler = NoiseSampler()
    assert GeneratedSet(sampler, tmp_path / "set", weights, count=6).run() == 4
    assert sampler.drawn == 4
    assert digests(tmp_path / "set") == digests(tmp_path / "whole")


def test_other_weights_or_seed_replace_what_is_there(tmp_path: Path, weights: Path) -> None:
    GeneratedSet(NoiseSampler(), tmp_path / "set", weights, count=2).run()
    before = digests(tmp_path / "set")
    assert GeneratedSet(NoiseSampler(), tmp_path / "set", weights, count=2, seed=1).run() == 2
    assert not set(before.values()) & set(digests(tmp_path / "set").values())
    weights.write_bytes(b"other")
    assert GeneratedSet(NoiseSampler(), tmp_path / "set", weights, count=2, seed=1).run() == 2


@pytest.mark.parametrize(("name", "value"), [("count", 0), ("classes", ["sick"]), ("classes", [])])
def test_what_is_out_of_range_is_named(tmp_path: Path, weights: Path, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        GeneratedSet(NoiseSampler(), tmp_path, weights, **{name: value})  # type: ignore[arg-type]
