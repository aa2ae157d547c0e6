"""Both kinds of generator: trained by their config and drawn from by `generate`, as a user does it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bundle.conftest import SmallCohort
from tests.conftest import BundleCommand

SHORT: dict[str, tuple[str, ...]] = {
    "train_generator": ("--autoencoder_epochs", "1", "--crop_size", "[32, 32]", "--flow_batch_size", "6"),
    "train_diffusion": (),
}


@pytest.mark.parametrize(
    ("config", "kind"), [("train_generator", "latent_flow"), ("train_diffusion", "pixel_diffusion")]
)
def test_a_generator_is_trained_and_drawn_from(
    config: str, kind: str, bundle_root: Path, small_cohort: SmallCohort, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    configs, weights, drawn = bundle_root / "configs", tmp_path / "g" / "generator.pt", tmp_path / "drawn"
    shared = ("--class_names", "['none']", "--image_size", "[64, 64]")
    words = ("--datalist", small_cohort.datalist, "--real_dir", small_cohort.folder, "--output_dir", tmp_path / "g")
    train = ("--max_epochs", "1", "--generator#n_components", "6", *SHORT[config])
    bundle_command("run", "--config_file", configs / f"{config}.json", *words, *shared, *train)
    draw = ("--weights_path", weights, "--output_dir", drawn, "--count", "2", "--steps", "3")
    asked = ("--generator_type", kind, f"--{kind}#n_components", "6")
    bundle_command("run", "--config_file", configs / "generate.json", *shared, *draw, *asked)
    with (drawn / "datalist.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["none", "none"]
    first, second = (np.asarray(Image.open(drawn / row["image"])) for row in rows)
    assert first.shape == (64, 64)
    assert first.std() > 5
    assert not np.array_equal(first, second)


def test_weights_of_the_other_kind_are_refused(
    bundle_root: Path, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    words = ("--generator_type", "pixel_diffusion", "--image_size", "[128, 128]", "--output_dir", tmp_path / "drawn")
    done = bundle_command("run", "--config_file", bundle_root / "configs" / "generate.json", *words, check=False)
    assert done.returncode != 0
    assert "generator_type" in done.stdout
    unknown = ("--generator_type", "gan", "--output_dir", tmp_path / "drawn")
    done = bundle_command("run", "--config_file", bundle_root / "configs" / "generate.json", *unknown, check=False)
    assert done.returncode != 0
    assert "latent_flow" in done.stdout
    assert not (tmp_path / "drawn").exists()
