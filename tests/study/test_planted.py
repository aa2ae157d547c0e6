"""Planted problems on real chest X-rays: the study must find the harm that is there, and none where none is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import avg_pool2d

from frerec.io.datalist import read_datalist
from frerec.study.arms import Arm
from frerec.study.baselines import References
from frerec.study.report import verdict
from frerec.study.runner import DownstreamStudy
from frerec.study.training import Schedule


def blur(image: torch.Tensor) -> torch.Tensor:
    return avg_pool2d(image[None].float(), 5, 1, 2, count_include_pad=False)[0]


def shortcut(data: dict[str, Any]) -> torch.Tensor:
    """A generator that blurs and shows the class by brightness, which real images do not."""
    return blur(torch.as_tensor(data["image"])) + 0.12 * (2 * data["label"] - 1)


class MixUp:
    """A generator that makes blurred copies of the real training images, and of the wrong class."""

    def set_references(self, references: References) -> None:
        self.references = references

    def __call__(self, data: dict[str, Any]) -> torch.Tensor:
        return blur(self.references.choose({**data, "label": 1 - data["label"]}, "random", "mix up"))


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
        [
            Arm("RAW", uses_synthetic=False),
            Arm("GDA"),
            Arm("shortcut", synthetic=shortcut),
            Arm("mixed up", synthetic=MixUp()),
        ],
        tmp_path_factory.mktemp("planted"),
        synthetic_cases=held_out,
        synthetic_ratio=2.0,
        seeds=(0, 1, 2, 3, 4),
        image_size=32,
        # Short, so that a classifier cannot yet learn the few real images by heart and so escape the bad ones: after 60
        # steps it partly has, and three seeds were too few to tell a loss of .15 from chance.
        schedule=Schedule(max_steps=24, batch_size=32, validations=2),
        draws=1000,
    )
    return {arm["arm"]: arm for arm in study.run()["cells"][0]["arms"]}


def against(arm: dict[str, Any], reference: str) -> dict[str, Any]:
    return next(c for c in arm["comparisons"] if c["reference"] == reference and c["metric"] == "auc")


def test_the_classifier_learns_something_to_lose(arms: dict[str, Any]) -> None:
    assert arms["RAW"]["auc"]["low"] > 0.6


@pytest.mark.parametrize(("arm", "reference"), [("mixed up", "RAW"), ("mixed up", "GDA"), ("shortcut", "GDA")])
def test_degraded_images_are_found_to_harm(arms: dict[str, Any], arm: str, reference: str) -> None:
    found = against(arms[arm], reference)
    assert verdict(found) == "harm"
    assert found["high"] < 0


def test_real_images_held_out_are_not_found_to_harm(arms: dict[str, Any]) -> None:
    found = against(arms["GDA"], "RAW")
    assert verdict(found) != "harm"
    assert found["value"] > -0.02
    assert found["low"] > -0.07
