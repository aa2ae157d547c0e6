"""What is an image, and which files are one, is the same for every workflow; and an input is opened twice at most."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from monai.bundle import ConfigParser
from PIL import Image

from frerec.io.datalist import find_images
from frerec.shr.bank.reference import ReferenceBank
from tests.conftest import BundleCommand
from tests.io.dicom.objects import MR, dicom_object, save, save_series

COUNT, SIZE = 9, (48, 40)


def anatomy(rng: np.random.Generator, count: int) -> np.ndarray:
    """Smooth slices with grain, (count, rows, columns)."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    shape = [np.exp(-((y - 24 - i) ** 2 + (x - 20) ** 2) / 250) for i in range(count)]
    return np.round(900 * np.stack(shape) + rng.normal(0, 20, (count, *SIZE)) + 100).astype(np.int16)


def flat_series(folder: Path, seed: int) -> Path:
    """Two series and an image in one folder, their files in turn and without an ending; notes and a report beside."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number, series in enumerate(("1.2.1", "1.2.2")):
        place = folder.parent / f"{folder.name} {series}"
        study = {"StudyInstanceUID": "1.2.9", "SOPClassUID": MR, "Modality": "MR"}
        save_series(place, anatomy(rng, COUNT), SeriesInstanceUID=series, **study)
        for index, path in enumerate(sorted(place.iterdir())):
            path.rename(folder / f"IM{2 * index + number:04d}")
        place.rmdir()
    save(dicom_object(anatomy(rng, 1)[0], SOPClassUID=MR, Modality="MR"), folder / "SINGLE")
    (folder / "notes.txt").write_text("two series")
    (folder / "thumbnail").write_bytes(b"GIF89a")
    report = dicom_object(np.zeros((2, 2), np.uint8), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    save(report, folder / "REPORT")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("seams")
    return flat_series(root / "real", 0), flat_series(root / "synthetic", 1)


@pytest.fixture(scope="module")
def bank(bundle_root: Path, bundle_command: BundleCommand, folders: tuple[Path, Path]) -> Path:
    path = folders[0].parent / "bank.safetensors"
    config = bundle_root / "configs" / "build_bank.json"
    words = ("--real_dir", folders[0], "--bank_path", path, "--kind", "statistics")
    done = bundle_command("run", "--config_file", config, *words, check=False)
    # the report and the thumbnail are told; a series is one volume
    assert done.returncode == 1, done.stdout
    assert "2 skipped" in done.stdout
    assert len(ReferenceBank.open(path)) == 3
    return path


def test_two_series_of_one_folder_without_endings_are_recalibrated_and_audited(
    bundle_root: Path, bundle_command: BundleCommand, folders: tuple[Path, Path], bank: Path, tmp_path: Path
) -> None:
    real, synthetic = folders
    out, report = tmp_path / "out", tmp_path / "report"
    config = bundle_root / "configs" / "inference.json"
    words = ("--bank_path", bank, "--use_network", "False", "--top_k", 2, "--output_dir", out)
    done = bundle_command("run", "--config_file", config, "--dataset_dir", synthetic, *words, check=False)
    lines = {line["path"]: line for line in map(json.loads, (out / "manifest.jsonl").read_text().splitlines())}
    assert done.returncode == 1, done.stdout
    statuses = {path: line["status"] for path, line in lines.items()}
    assert statuses == {
        "IM0000": "done", "IM0001": "done", "SINGLE": "done", "notes.txt": "ignored", "thumbnail": "skipped",
        "REPORT": "skipped",
    }  # fmt: skip
    assert len(lines["IM0000"]["files"]) == len(lines["IM0001"]["outputs"]) == COUNT
    series = Counter(pydicom.dcmread(path).SeriesInstanceUID for path in out.glob("IM*"))
    assert sorted(series.values()) == [COUNT, COUNT]

    config = bundle_root / "configs" / "evaluate.json"
    quick = (
        "--device",
        "cpu",
        "--features_epochs",
        1,
        "--features_size",
        16,
        "--bootstrap_draws",
        50,
        "--cnn_steps",
        0,
    )
    groups = ("--real_dir", real, "--synthetic_dir", synthetic, "--recalibrated_dir", out, "--bank_path", "")
    bundle_command("run", "--config_file", config, *groups, *quick, "--bootstrap_draws", 50, "--output_dir", report)
    images = json.loads((report / "metrics.json").read_text())["groups"]
    assert {group: images[group] for group in ("real", "synthetic", "recalibrated")} == dict.fromkeys(
        ("real", "synthetic", "recalibrated"), 2 * COUNT + 1
    )


def test_the_list_for_training_has_the_same_images(bundle_root: Path, folders: tuple[Path, Path]) -> None:
    names = sorted([f"IM{i:04d}" for i in range(2 * COUNT)] + ["SINGLE"])
    for dims, expected in ((2, names), (3, ["IM0000", "IM0001", "SINGLE"])):
        parser = ConfigParser()
        parser.read_config(str(bundle_root / "configs" / "train.json"))
        parser.update({"dataset_dir": str(folders[0]), "datalist": None, "spatial_dims": dims, "val_split": None})
        rows = parser.get_parsed_content("train#dataset#data")
        first = [row["image"] if isinstance(row["image"], str) else row["image"][0] for row in rows]
        assert [Path(path).name for path in first] == expected
        assert sum(1 if isinstance(row["image"], str) else len(row["image"]) for row in rows) == 2 * COUNT + 1


def test_a_damaged_file_that_claims_to_be_an_image_is_listed(tmp_path: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "no_ending", "PNG")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "archive").write_bytes(b"PK\x03\x04")
    assert [Path(row["image"]).name for row in find_images(tmp_path)] == ["empty.png", "no_ending"]


COUNT_OPENS = """
import json, os, sys
from collections import Counter
root, out, bundle = sys.argv[1:4]
counts = Counter()

def hook(event, args):
    if event == "open" and isinstance(args[0], (str, bytes)) and os.fsdecode(args[0]).startswith(root + os.sep):
        counts[os.path.relpath(os.fsdecode(args[0]), root)] += 1

sys.addaudithook(hook)
from monai.bundle import ConfigWorkflow
ids = {"dataset_dir": root, "output_dir": out, "use_network": False, "strength": 0, "bundle_root": bundle}
workflow = ConfigWorkflow(os.path.join(bundle, "configs", "inference.json"), workflow_type="infer", **ids)
workflow.initialize()
workflow.run()
print(json.dumps(counts))
"""


def test_inference_opens_an_input_twice_at_most(bundle_root: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    save_series(source / "series", anatomy(np.random.default_rng(2), 4), SOPClassUID=MR, Modality="MR")
    gray = anatomy(np.random.default_rng(3), 1)[0]
    for name in ("a.png", "b.tif", "c.jpg"):
        Image.fromarray((gray // 8).astype(np.uint8)).save(source / name)
    nib.save(nib.Nifti1Image(anatomy(np.random.default_rng(4), 3), np.eye(4)), source / "d.nii.gz")
    save(dicom_object(gray, SOPClassUID=MR, Modality="MR"), source / "e")
    words = [sys.executable, "-c", COUNT_OPENS, str(source), str(out), str(bundle_root)]
    environment = os.environ | {"PYTHONPATH": str(bundle_root / "bundle")}
    for _ in ("first run", "nothing left to do"):
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        counts = json.loads(done.stdout.splitlines()[-1])
        assert len(counts) == 9
        assert max(counts.values()) <= 2, counts
