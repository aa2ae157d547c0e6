"""The audit as a user runs it: planted differences are found, bad files are told, the report stands by itself."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image

from frerec.audit.collector import CollectorSettings, GroupCollector
from frerec.shr.bank.reference import ReferenceBank
from tests.audit.conftest import PlantedSets, blurred, save, texture, textures
from tests.audit.test_artefacts import cut, scene
from tests.conftest import BundleCommand

QUICK = {
    "device": "cpu",
    "features_epochs": 1,
    "features_size": 32,
    "bootstrap_draws": 100,
    "cnn_steps": 10,
    "bank_path": "",
}


def run_audit(root: Path, preflight: bool = True, **ids: Any) -> int:
    """Run the workflow in this process, as ``python -m monai.bundle run`` does; its exit code."""
    unchecked = {} if preflight else {"preflight": None}
    given = {key: str(value) if isinstance(value, Path) else value for key, value in {**QUICK, **ids}.items()}
    try:
        made = ConfigWorkflow(
            str(root / "configs" / "evaluate.json"), workflow_type="infer", logging_file=False, **unchecked, **given
        )
        made.initialize()
        made.run()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture(scope="module")
def audit(
    bundle_root: Path, bundle_command: BundleCommand, planted: PlantedSets, tmp_path_factory: Any
) -> tuple[Any, Path]:
    """One audit with a broken file among the synthetic images; its process and its output folder."""
    synthetic, output = planted.root / "synthetic with a broken one", tmp_path_factory.mktemp("audit") / "new" / "out"
    shutil.copytree(planted.synthetic, synthetic)
    (synthetic / "zz_broken.png").write_bytes(b"\x89PNG but no more")
    words = [word for key, value in QUICK.items() for word in (f"--{key}", value)]
    done = bundle_command(
        "run", "--config_file", bundle_root / "configs" / "evaluate.json", "--synthetic_dir", synthetic,
        "--recalibrated_dir", planted.recalibrated, "--recalibrated_real_dir", planted.recalibrated_real,
        "--datalist", planted.datalist, "--output_dir", output, *words, check=False,
    )  # fmt: skip
    return done, output


def test_a_broken_file_is_named_and_the_exit_code_tells(audit: tuple[Any, Path]) -> None:
    done, output = audit
    assert done.returncode == 1, done.stdout[-3000:]
    assert "zz_broken.png" in done.stdout
    assert "Traceback" not in done.stdout
    result = json.loads((output / "metrics.json").read_text())
    assert [Path(entry["image"]).name for entry in result["skipped"]] == ["zz_broken.png"]
    assert "zz_broken.png" in (output / "report.html").read_text()


def test_what_was_planted_is_found(audit: tuple[Any, Path]) -> None:
    result = json.loads((audit[1] / "metrics.json").read_text())
    assert result["groups"] == {
        "real": 24, "synthetic": 24, "recalibrated": 24, "recalibrated_real": 24, "shr": 0, "training": 20,
    }  # fmt: skip
    before, after = result["comparisons"]["before"], result["comparisons"]["after"]
    assert before["detector"]["radial_high"]["value"] > 0.99
    assert before["gap"]["high"]["low"] > 3 * after["gap"]["high"]["value"]
    assert before["map"]["peak_z"] > 6
    assert after["map"]["peak_z"] < 6
    assert after["detector"]["radial_high"]["low"] < 0.6
    # the line of chance: 20 training images against the 24 real ones
    floor = result["comparisons"]["floor"]
    assert floor["between"] == "real training images and the real images"
    assert (floor["n"], floor["n_reference"]) == (20, 24)
    every = {"radial_high", "radial", "radial_hann", "cnn_high_pass", "cnn_pixels"}
    assert set(before["detector"]) == set(after["detector"]) == set(floor["detector"]) == every
    assert before["use"] is None
    assert after["use"] == "all"
    assert result["comparisons"]["after_against_untouched_real"]["use"] == "synthetic only"
    # a shift by 0.765 gray levels, rounded, moves that share of the pixels by one level
    expected = -10 * np.log10(0.003 * 255 / 255**2)
    assert result["fidelity"]["real"]["psnr"]["mean"] == pytest.approx(expected, abs=0.3)
    assert result["fidelity"]["real"]["ms_ssim_scales"] == 3
    tones = {v["question"]: v["tone"] for v in result["verdicts"]}
    assert tones["Do your synthetic images carry a frequency bias?"] == "bad"
    assert tones["Does recalibration close the spectral gap?"] == "good"


def test_the_table_holds_the_numbers_of_the_json(audit: tuple[Any, Path]) -> None:
    result = json.loads((audit[1] / "metrics.json").read_text())
    rows = list(csv.DictReader(io.StringIO((audit[1] / "metrics.csv").read_text())))
    found = {(row["comparison"], row["measure"]): row for row in rows}
    gap = result["comparisons"]["before"]["gap"]["high"]
    assert float(found["before", "gap/high"]["value"]) == pytest.approx(gap["value"])
    assert float(found["before", "gap/high"]["low"]) == pytest.approx(gap["low"])
    assert {"distribution/fid", "distribution/kid", "detector/radial_hann"} <= {r["measure"] for r in rows}


def test_the_report_needs_nothing_but_itself(audit: tuple[Any, Path]) -> None:
    page = (audit[1] / "report.html").read_text()
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', page) == []
    assert not re.search(r"url\((?!data:)|@import|<script|https?://", page)
    for words in (
        "How to repeat this",
        "--synthetic_dir",
        "not Inception numbers",
        "viewport",
        "@media print",
        "CNN, high-passed",
        "strongest",
        "synthetic only",
        "ringing at edges",
    ):
        assert words in page
    assert Image.open(audit[1] / "strip.png").size[0] > 500


def test_the_report_opens_in_a_browser(audit: tuple[Any, Path], tmp_path: Path) -> None:
    browsers = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    browser = next((found for found in browsers if found), None)
    if browser is None:
        pytest.skip("no headless chromium on this machine")
    for width in (390, 1100):
        picture = tmp_path / f"{width}.png"
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command += [f"--screenshot={picture}", f"--window-size={width},1600", (audit[1] / "report.html").as_uri()]
        subprocess.run(command, capture_output=True, check=True)
        pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
        assert pixels.shape[:2] == (1600, width)
        # the cards' coloured edges are there, and nothing hangs over the right edge of the page
        assert (np.abs(pixels - [180, 35, 54]).sum(-1) < 12).sum() > 100
        assert pixels[:, -3:].reshape(-1, 3).std(0).max() < 3


def test_batches_and_workers_change_nothing(audit: tuple[Any, Path], bundle_root: Path, planted: PlantedSets) -> None:
    again = audit[1].parent / "again"
    code = run_audit(
        bundle_root,
        synthetic_dir=planted.root / "synthetic with a broken one",
        recalibrated_dir=planted.recalibrated,
        recalibrated_real_dir=planted.recalibrated_real,
        datalist=planted.datalist,
        output_dir=again,
        batch_size=5,
        num_workers=1,
    )
    assert code == 1
    first, second = (json.loads((folder / "metrics.json").read_text()) for folder in (audit[1], again))
    for result in (first, second):
        del result["settings"]
    assert flat(first) == pytest.approx(flat(second), rel=1e-4, abs=1e-6)
    assert [v["answer"] for v in first["verdicts"]] == [v["answer"] for v in second["verdicts"]]


def flat(value: Any, where: str = "") -> dict[str, float]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{where}/{key}").items()}
    if isinstance(value, list):
        return {k: v for key, item in enumerate(value) for k, v in flat(item, f"{where}/{key}").items()}
    return {where: float(value)} if isinstance(value, (int, float)) else {}


def test_a_bank_stands_in_for_real_images(bundle_root: Path, planted: PlantedSets, tmp_path: Path) -> None:
    images = [texture(seed)[None] for seed in range(30)]
    images.append(np.asarray(Image.open(planted.synthetic / "s03.png"), dtype=np.float32)[None] / 255)
    ReferenceBank.build(images, tmp_path / "bank.safetensors")
    folders = {"dataset_dir": planted.synthetic, "recalibrated_dir": planted.recalibrated}
    code = run_audit(bundle_root, **folders, bank_path=tmp_path / "bank.safetensors", output_dir=tmp_path / "out")
    assert code == 0
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert result["real_source"] == "bank"
    assert set(result["comparisons"]) == {"before", "after_against_untouched_real", "floor"}
    assert result["comparisons"]["before"]["detector"]["radial_high"]["value"] > 0.9
    assert result["comparisons"]["after_against_untouched_real"]["detector"]["radial_high"]["low"] < 0.7
    assert [Path(path).name for path in result["copies"]["bank"]["synthetic"]] == ["s03.png"]
    assert result["copies"]["bank"]["recalibrated"] == []
    told = next(v for v in result["verdicts"] if v["question"].startswith("Can a detector"))
    assert "Not run: radial, plain" in told["sentence"]
    assert told["tone"] != "good"
    assert "come from a reference bank" in (tmp_path / "out" / "report.html").read_text()


def test_names_of_any_bytes_and_links_are_audited(bundle_root: Path, planted: PlantedSets, tmp_path: Path) -> None:
    odd = ["<img src=x>", os.fsdecode(b"M\xfcller"), "two\nlines", "\x1b[2J", "$\\frac$ & co"]
    for group in ("synthetic", "recalibrated"):
        (tmp_path / group).mkdir()
        for index, path in enumerate(sorted((planted.root / group).iterdir())):
            name = f"{odd[index % 5]}{index}.png"
            (tmp_path / group / name).symlink_to(path)
    (tmp_path / "synthetic" / f"{odd[1]}.png").write_bytes(b"no picture")
    folders = {"synthetic_dir": tmp_path / "synthetic", "recalibrated_dir": tmp_path / "recalibrated"}
    code = run_audit(bundle_root, **folders, datalist=planted.datalist, output_dir=tmp_path / "out")
    assert code == 1
    result = json.loads((tmp_path / "out" / "metrics.json").read_bytes().decode("utf-8"))
    assert (result["groups"]["synthetic"], result["groups"]["recalibrated"]) == (24, 24)
    page = (tmp_path / "out" / "report.html").read_bytes().decode("utf-8")
    assert "<img src=x>" not in page
    assert "\x1b" not in page
    assert r"M\xfcller.png" in page


def test_nothing_readable_ends_in_one_clear_line(
    bundle_root: Path, planted: PlantedSets, tmp_path: Path, capsys: Any, caplog: Any
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_text("no image")
    ids = {"synthetic_dir": tmp_path / "broken", "real_dir": planted.real, "output_dir": tmp_path / "out"}
    assert run_audit(bundle_root, **ids) == 3
    assert "broken" in capsys.readouterr().err
    # files that only turn out to be bad when they are read
    assert run_audit(bundle_root, preflight=False, **ids) == 2
    assert "nothing could be done" in caplog.text
    assert "a.png" in caplog.text


def test_memory_of_a_group_grows_by_vectors_not_by_images() -> None:
    collector = GroupCollector("recalibrated", CollectorSettings(n_rings=64, map_size=64, cnn_images=4))
    sizes = []
    for index in range(60):
        image = textures(range(index, index + 1), 128)[0]
        item = {"image": str(index), "name": str(index), "label": None, "patient": None}
        collector.add({**item, "pixels": image, "reference_pixels": image}, torch.zeros(128))
        if index in (19, 39, 59):
            sizes.append(len(pickle.dumps(vars(collector))))
    growth = (sizes[2] - sizes[1]) / 20
    assert growth == pytest.approx((sizes[1] - sizes[0]) / 20, rel=0.2)
    # an image has 64 kB; kept are its thumbnail (4 kB), three spectra, features and names
    assert growth < 10_000
    assert len(collector.reservoir.contents()[1]) == 4


def test_volumes_are_audited_too(bundle_root: Path, tmp_path: Path) -> None:
    for group, seeds in (("real", range(20)), ("synthetic", range(20, 40))):
        (tmp_path / group).mkdir()
        for seed in seeds:
            slices = [texture(100 * seed + z, 24) for z in range(6)]
            volume = np.stack([blurred(s) if group == "synthetic" else s for s in slices], -1)
            nibabel.save(nibabel.Nifti1Image(volume.astype(np.float32), np.eye(4)), tmp_path / group / f"{seed}.nii.gz")
    folders = {"synthetic_dir": tmp_path / "synthetic", "real_dir": tmp_path / "real"}
    assert run_audit(bundle_root, **folders, output_dir=tmp_path / "out", spatial_dims=3) == 0
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert result["comparisons"]["before"]["detector"]["radial_high"]["value"] > 0.9
    assert max(result["frequencies"]) > np.sqrt(2)


@pytest.mark.parametrize("planted", [True, False])
def test_lattice_and_ringing_are_told_where_they_are(bundle_root: Path, tmp_path: Path, planted: bool) -> None:
    for index in range(64):
        image = scene(index)[0]
        if index >= 32 and planted:
            image = cut(image, 0.25)
            image[::4] += 0.02
        save(np.clip(image, 0, 1), tmp_path / ("real" if index < 32 else "synthetic") / f"{index}.png")
    folders = {"synthetic_dir": tmp_path / "synthetic", "real_dir": tmp_path / "real", "output_dir": tmp_path / "out"}
    assert run_audit(bundle_root, **folders, cnn_steps=0) == 0
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    told = {v["question"].split("?")[0].split(" (")[0]: v["answer"] for v in result["verdicts"]}
    assert told["Is there a checkerboard or grid in the synthetic images"] == ("yes" if planted else "no sign")
    # the lattice is all over the picture, and hides what is along the borders
    assert told["Do edges or borders ring"] == ("yes, edges" if planted else "no sign")
    assert result["comparisons"]["floor"]["between"] == "two halves of the real images"
    assert {"ringing/edges", "ringing/borders"} <= {
        row["measure"] for row in csv.DictReader(io.StringIO((tmp_path / "out" / "metrics.csv").read_text()))
    }


def test_gray_and_colour_do_not_mix(
    planted: PlantedSets, tmp_path: Path, bundle_root: Path, capsys: Any, caplog: Any
) -> None:
    for index in range(12):
        save(np.stack([texture(3 * index + channel) for channel in range(3)], -1), tmp_path / "colour" / f"{index}.png")
    folders = {"synthetic_dir": tmp_path / "colour", "real_dir": planted.real}
    assert run_audit(bundle_root, **folders, output_dir=tmp_path / "out") in (2, 3)
    assert "channel" in capsys.readouterr().err + caplog.text


def test_no_property_that_monai_needs_is_missing(bundle_root: Path, planted: PlantedSets, tmp_path: Path) -> None:
    made = ConfigWorkflow(
        str(bundle_root / "configs" / "evaluate.json"), workflow_type="infer", logging_file=False,
        synthetic_dir=str(planted.synthetic), real_dir=str(planted.real), output_dir=str(tmp_path), device="cpu",
    )  # fmt: skip
    made.initialize()
    assert made.check_properties() == []
