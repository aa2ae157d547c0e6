"""Problems with a known answer: the recommendation is the right one, and inference.json can follow it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.tune.conftest import Planted


def chessboard(folder: Path) -> float:
    """Mean height of the finest point of the spectrum over its neighbours, in decades."""
    heights = []
    for path in sorted(folder.rglob("*.png"))[:10]:
        power = np.abs(np.fft.fft2(np.asarray(Image.open(path), dtype=float))) ** 2
        middle = len(power) // 2
        around = power[middle - 2 : middle + 3, middle - 2 : middle + 3]
        heights.append(np.log10(power[middle, middle] / np.median(around)))
    return float(np.mean(heights))


@pytest.fixture(scope="module")
def lattice(planted: Planted, bundle_command: Any, bundle_root: Path, tmp_path_factory: Any) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("lattice") / "out"
    words = {
        "config_file": bundle_root / "configs" / "tune.json", "datalist": planted.datalist,
        "synthetic_dir": planted.made["lattice"], "output_dir": out, "bank_path": planted.bank, "rare_class": "class1",
        "stages": "['shr']", "strengths": "[1.0]", "mask_ratios": "[0.1,0.5]", "recalibrate": "['synthetic']",
        "keep": 2, "image_size": "[32,32]", "num_seeds": 4, "max_steps": 24, "batch_size": 16, "validations": 2,
        "draws": 300, "top_k": 4, "budget_minutes": 600, "device": "cpu",
    }  # fmt: skip
    done = bundle_command("run", *(word for key, value in words.items() for word in (f"--{key}", value)))
    return out, done.stdout


def test_a_fingerprint_in_the_rare_class_is_to_be_taken_out(lattice: tuple[Path, str]) -> None:
    found = json.loads((lattice[0] / "metrics.json").read_text())
    assert found["answer"]["add"] and found["answer"]["recalibrate"] == "synthetic"
    # below 0.5 lies what shows the class, which a lower mask would take out as well
    assert found["overrides"]["mask_ratio"] == 0.5
    assert found["against"]["GDA"]["value"] > 0.03
    assert "run 1 of" in lattice[1] and "left" in lattice[1]
    page = (lattice[0] / "report.html").read_text()
    assert "recalibrate and add them" in page
    assert "frerec inference tuned.json" in page


def test_inference_takes_the_recommendation_as_its_second_file(
    lattice: tuple[Path, str], planted: Planted, bundle_command: Any, bundle_root: Path, tmp_path: Path
) -> None:
    tuned, inference = lattice[0] / "tuned.json", bundle_root / "configs" / "inference.json"
    assert json.loads(tuned.read_text()).keys() <= json.loads(inference.read_text()).keys()
    words = ("--config_file", f"['{inference}','{tuned}']", "--dataset_dir", planted.made["lattice"] / "class1")
    bundle_command("run", *words, "--output_dir", tmp_path / "out", "--verify_output", "False")
    before, after = chessboard(planted.made["lattice"] / "class1"), chessboard(tmp_path / "out")
    assert before > 2 and after < 0.5
    # what was tried is what was run: the images that the classifier saw, before rounding to 8 bit
    for path in sorted((tmp_path / "out").glob("*.png"))[:10]:
        digest = hashlib.sha256((planted.made["lattice"] / "class1" / path.name).read_bytes()).hexdigest()
        tried = [np.load(f)[0] for f in (lattice[0] / "cache").glob(f"*/{digest[:32]}-synthetic-1.npy")]
        written = np.asarray(Image.open(path), dtype=float) / 255
        assert min(np.abs(one - written).max() for one in tried) < 0.6 / 255


def test_images_equal_in_kind_are_left_as_they_are(make_tuner: Any, tmp_path: Path) -> None:
    found = make_tuner("equal", tmp_path, seeds=4).run()
    assert found["answer"] | {"seeds": 4} == {
        "add": True, "recalibrate": "none", "candidate": "GDA", "best": "GDA", "sure": found["answer"]["sure"],
        "seeds": 4,
    }  # fmt: skip
    assert found["answer"]["sure"] in ("shown", "likely")
    assert found["runs"].keys() == {"RAW", "GDA"}, "nothing to repair was found, so nothing was tried"
    assert json.loads((tmp_path / "tuned.json").read_text()) == {"channels": 1, "strength": 0.0, "use_network": False}
    assert "leave them as they are" in (tmp_path / "report.html").read_text()


def test_images_under_the_wrong_label_are_not_to_be_added(make_tuner: Any, tmp_path: Path) -> None:
    found = make_tuner("wrong", tmp_path, seeds=4).run()
    assert not found["answer"]["add"]
    assert found["against"]["GDA"]["low"] > 0, "the harm of adding them is beyond chance"
    assert "do not add them" in (tmp_path / "report.html").read_text()
