"""scripts/evidence.py from data to figures at small size, in one command, and again: nothing is done twice."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PLAN = {
    "image_size": 32, "generators": ["pixel_diffusion"], "fractions": [0.25, 0.5], "seeds": 2, "seeds_of_others": 1,
    "max_steps": 10, "cnn_steps": 0, "shown": 24,
    "tune": {
        "rare_fraction": 0.5, "num_seeds": 2, "validations": 1, "stages": ["shr"], "strengths": [1.0],
        "mask_ratios": [0.5], "recalibrate": ["synthetic"], "top_k": 4, "draws": 50,
    },
    "inference": {"verify_output": False},  # pictures of noise keep little of themselves
    "fixed": {"SHR 1, mask 0.5": {"strength": 1.0, "mask_ratio": 0.5, "transition": 0.1, "use_network": False}},
    "sets": {
        "stripes": {
            "title": "striped", "classes": ["class0", "class1"], "rare": ["class1"], "channels": 1, "count": 90,
            "diffusion_epochs": 1, "epochs": 1,
        },
        "given": {
            "real": "stripes", "classes": ["class0", "class1"], "rare": ["class1"], "channels": 1, "outside": "twin",
            "rename": {"one": "class1"}, "fill": 1.0,
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def words(pictures: Any, bundle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("evidence")
    real = [*pictures("train", 52), *pictures("val", 8), *pictures("test", 20)]
    made = [{"image": row["image"], "label": row["label"].replace("class1", "one")} for row in pictures("made", 28)]
    for name, rows in (("stripes/manifest.csv", real), ("given/synthetic.csv", made)):
        folder = (root / "data" / name).parent
        folder.mkdir(parents=True)
        for number, row in enumerate(rows):
            shutil.copyfile(row["image"], folder / f"{number:03d}.png")
            row["image"] = f"{number:03d}.png"
        with (root / "data" / name).open("w", newline="") as stream:
            table = csv.DictWriter(stream, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    (root / "plan.json").write_text(json.dumps(PLAN))
    return [
        sys.executable, str(bundle_root / "scripts" / "evidence.py"), "--data", str(root / "data"), "--output",
        str(root / "out"), "--figures", str(root / "figures"), "--plan", str(root / "plan.json"),
    ]  # fmt: skip


def run(words: list[str], bundle_root: Path, *more: str) -> str:
    done = subprocess.run(
        [*words, *more], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(bundle_root / "bundle")}
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def told(words: list[str], bundle_root: Path) -> str:
    """What the command prints that makes everything of one set."""
    assert run(words, bundle_root, "--list").count("[to do]") == 22
    return run(words, bundle_root, "--sets", "stripes")


def test_from_data_to_figures_in_one_command(words: list[str], told: str, bundle_root: Path) -> None:
    out, figures = Path(words[5]), Path(words[7])
    for name in ("rare", "harm", "spectra"):
        assert "<svg" in (figures / f"evidence_{name}.svg").read_text()
    rows = [json.loads(line) for line in (out / "runs" / "results.jsonl").read_text().splitlines()]
    assert {row.get("setting") for row in rows} == {None, "tuned", "SHR 1, mask 0.5"}

    # the pooled difference is the mean over cells and seeds of what the lines tell
    def auc(row: dict[str, Any], arm: str) -> float:
        same = {key: row[key] for key in ("set", "generator", "rare_fraction", "seed")} | {"arm": arm}
        return next(r["auc"] for r in rows if "setting" not in r and same.items() <= r.items())

    starts = [row for row in rows if row["arm"] == "RAW" and "setting" not in row]
    assert len(starts) == 2 * 2, "shares, seeds"
    expected = np.mean([auc(row, "GDA") - auc(row, "RAW") for row in starts])
    tables = (out / "tables.md").read_text()
    assert "test patients and seeds" in tables and tables in told
    pooled = re.search(r"\*\*all cells, small_resnet \(2\)\*\* \|  \|  \|  \|  \| ([+-])\.(\d+) ", tables)
    assert pooled is not None
    assert float(f"{pooled[1]}0.{pooled[2]}") == pytest.approx(expected, abs=6e-4)
    for words_of_table in (
        "| tuned |", "| SHR 1, mask 0.5 |", "| tuned, minus SHR 1, mask 0.5 |", "striped, pixel diffusion, class1",
        "RAW balanced, small_resnet", "gap of the class",
    ):  # fmt: skip
        assert words_of_table in tables

    again = run(words, bundle_root, "--sets", "stripes", "--steps", "lists", "generators", "networks", "tunings")
    assert "[to do]" not in again and again.count("[done]") == 4


def test_a_set_with_images_of_an_outside_generator(words: list[str], bundle_root: Path) -> None:
    words = [*words, "--sets", "given"]
    run(words, bundle_root, "--steps", "lists")
    with (Path(words[5]) / "lists" / "given_twin.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["label"] for row in rows} == {"class0", "class1"}, "one is called class1 there"
    assert all(Path(row["image"]).is_file() for row in rows)
    told = run(words, bundle_root, "--list")
    assert "generator" not in told and "build_bank" not in told, "its real images are those of another set"
    assert "synthetic_datalist" in told and f"{Path('lists') / 'given_twin.csv'}" in told


@pytest.mark.usefixtures("told")
def test_from_the_lines_alone_intervals_are_over_seeds(words: list[str], bundle_root: Path, tmp_path: Path) -> None:
    out = Path(words[5])
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "results.jsonl").write_bytes((out / "runs" / "results.jsonl").read_bytes())
    script = [sys.executable, str(bundle_root / "scripts" / "plot_evidence.py"), "--evidence", str(tmp_path)]
    told = run(script, bundle_root, "--output", str(tmp_path), "--draws", "50")
    assert "seeds only" in told and "all cells, small_resnet (2)" in told
    assert not (tmp_path / "evidence_spectra.svg").exists(), "there are no audits"


def test_a_set_that_is_not_in_the_plan_is_told(words: list[str], bundle_root: Path) -> None:
    done = subprocess.run([*words, "--sets", "strips"], capture_output=True, text=True)
    assert done.returncode == 2 and "strips: not in" in done.stderr and "stripes, given" in done.stderr
