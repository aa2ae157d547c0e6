"""Planted problems on real chest X-rays: the study must find the harm that is there, and none where none is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import avg_pool2d

from frerec.evaluation.study.arms import Arm
from frerec.evaluation.study.report import verdict
from frerec.evaluation.study.runner import DownstreamStudy
from frerec.evaluation.study.training import Schedule
from frerec.imaging.datalist import read_datalist


def degrade(data: dict[str, Any]) -> torch.Tensor:
    """A bad generator: blurs, and leaves a faint checkerboard whose sign depends on the class."""
    image = torch.as_tensor(data["image"])
    down, across = torch.meshgrid(*(torch.arange(n) for n in image.shape[1:]), indexing="ij")
    board = 1.0 - 2.0 * ((down + across) % 2)
    return avg_pool2d(image[None], 5, 1, 2, count_include_pad=False)[0] + 0.08 * board * (2 * data["label"] - 1)


@pytest.fixture(scope="module")
def arms(shared_data: Path, picture_loader: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    rows = read_datalist(shared_data / "chest_xray" / "manifest.csv")
    patients = sorted({row["patient"] for row in rows if row["split"] == "train"})
    few = set(patients[::4])
    training = [row for row in rows if row["split"] == "train"]
    # A quarter of the training patients are the real images, the others play the generator.
    real = [row for row in rows if row["split"] != "train"] + [row for row in training if row["patient"] in few]
    held_out = [row for row in training if row["patient"] not in few]
    study = DownstreamStudy(
        real,
        picture_loader,
        [Arm("RAW", uses_synthetic=False), Arm("GDA"), Arm("GDA degraded", synthetic=degrade)],
        tmp_path_factory.mktemp("planted"),
        synthetic_cases=held_out,
        synthetic_ratio=2.0,
        seeds=(0, 1, 2, 3),
        image_size=32,
        schedule=Schedule(max_steps=60, batch_size=32, validations=3),
        draws=1000,
    )
    return {arm["arm"]: arm for arm in study.run()["cells"][0]["arms"]}


def against(arm: dict[str, Any], reference: str) -> dict[str, Any]:
    return next(c for c in arm["comparisons"] if c["reference"] == reference and c["metric"] == "auc")


def test_the_classifier_learns_something_to_lose(arms: dict[str, Any]) -> None:
    assert arms["RAW"]["auc"]["low"] > 0.6


@pytest.mark.parametrize("reference", ["RAW", "GDA"])
def test_degraded_images_are_found_to_harm(arms: dict[str, Any], reference: str) -> None:
    found = against(arms["GDA degraded"], reference)
    assert verdict(found) == "harm"
    assert found["high"] < 0


def test_real_images_held_out_are_not_found_to_harm(arms: dict[str, Any]) -> None:
    found = against(arms["GDA"], "RAW")
    assert verdict(found) != "harm"
    assert found["value"] > -0.02
    assert found["low"] > -0.07
