"""A folder as it comes: names of any bytes, links, pipes, and series lying as an archive exports them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from frerec.files import text_to_name
from tests.io.dicom.objects import AXIAL, CT, dicom_object, save

PASS_THROUGH = ("--strength", "0", "--use_network", "False")
Run = Callable[..., tuple[subprocess.CompletedProcess[str], dict[str, dict[str, Any]]]]


@pytest.fixture
def run(bundle_command: Callable[..., Any], inference_config: str, artefacts: dict[str, Any]) -> Run:
    """Run inference.json over a folder from the command line; returns the process and the manifest by path."""
    settings = [word for key, value in artefacts.items() for word in (f"--{key}", value)]

    def run(dataset_dir: Path, output_dir: Path, *words: str) -> Any:
        folders = ("--dataset_dir", dataset_dir, "--output_dir", output_dir, "--device", "cpu")
        # the images are noise, of which the small bank makes other noise
        folders += ("--verify_output", "False")
        done = bundle_command("run", "--config_file", inference_config, *folders, *settings, *words, check=False)
        assert "Traceback" not in done.stdout, done.stdout
        lines = (output_dir / "manifest.jsonl").read_bytes().decode("utf-8").split("\n")[:-1]
        return done, {record["path"]: record for record in map(json.loads, lines)}

    return run


def picture(path: Path, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 20)).astype(np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return pixels.tobytes()


def slices(folder: Path, uid: str, heights: list[float], name: Callable[[int], str]) -> None:
    rng = np.random.default_rng(len(uid))
    for index, height in enumerate(heights):
        dataset = dicom_object(
            rng.integers(-900, 900, (24, 20)).astype(np.int16), SOPClassUID=CT, Modality="CT", SeriesInstanceUID=uid,
            PixelSpacing=[0.5, 0.5], ImagePositionPatient=[0, 0, height], ImageOrientationPatient=AXIAL,
            InstanceNumber=index + 1, RescaleSlope=1, RescaleIntercept=0,
        )  # fmt: skip
        path = folder / name(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(dataset, path)


NAMES = [
    b"Aufnahme \xfc\xdf.png",
    "Aufnahme Größe.png".encode(),
    b"back\\slash.png",
    b"two\nlines\t.png",
    b"\x1b[2J\x1b]0;gone\x07.png",
    "\u2028\x9b31m\u202egnp.png".encode(),
    b"-rf.png",
    b" 'a', \"b\" [c] {d} $e %f #g@h.png",
    b"l" * 251 + b".png",
]


def test_names_of_any_bytes_are_mirrored_and_resumed(run: Run, tmp_path: Path) -> None:
    street = os.fsdecode(b"Stra\xdfe")
    names = [f"{street}/{os.fsdecode(name)}" for name in NAMES] + ["zz.png"]
    (tmp_path / "in" / street).mkdir(parents=True)
    for seed, name in enumerate(names):
        picture(tmp_path / "in" / name, seed)
    done, records = run(tmp_path / "in", tmp_path / "out")
    assert done.returncode == 0, done.stdout
    assert "\x1b" not in done.stdout
    assert {text_to_name(path) for path in records} == set(names)
    assert {record["status"] for record in records.values()} == {"done"}
    outputs = {text_to_name(output["path"]) for record in records.values() for output in record["outputs"]}
    there = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert outputs == there - {"manifest.jsonl"}
    assert set(names) <= outputs
    with Image.open(tmp_path / "out" / names[0]) as image:
        text = image.info["FreRec"]
    assert json.loads(text)["source"]["name"] == r"Stra\xdfe/Aufnahme \xfc\xdf.png"
    sidecars = [json.loads((tmp_path / "out" / name).read_bytes()) for name in outputs if name.endswith(".json")]
    assert {text_to_name(record["source"]["name"]) for record in sidecars} == set(names)
    again, unchanged = run(tmp_path / "in", tmp_path / "out", "--num_workers", "1")
    assert again.returncode == 0
    assert f"0 done, {len(names)} done before" in again.stdout
    assert unchanged == records


def test_a_folder_of_links_is_worked_on_and_what_cannot_be_read_is_named(run: Run, tmp_path: Path) -> None:
    store, farm = tmp_path / "store", tmp_path / "farm"
    (store / "p2").mkdir(parents=True)
    farm.mkdir()
    pixels = [picture(store / "8f", 1), picture(store / "p2" / "b.png", 2)]
    (farm / "p1.png").symlink_to(store / "8f")
    (farm / "p2").symlink_to(store / "p2")
    (farm / "not_fetched.png").symlink_to(".git/annex/objects/xx")
    (farm / "round").symlink_to(farm)
    os.mkfifo(farm / "\x1b[31mpipe.png")
    done, records = run(farm, tmp_path / "out", *PASS_THROUGH)
    assert done.returncode == 1
    assert {path: record["status"] for path, record in records.items()} == {
        "p1.png": "done", "p2/b.png": "done", "not_fetched.png": "skipped", "round": "skipped",
        "\x1b[31mpipe.png": "skipped",
    }  # fmt: skip
    assert "skipped: not_fetched.png: a link to nothing. Fetch what it points to" in done.stdout
    assert r"skipped: \x1b[31mpipe.png: no file but a named pipe" in done.stdout
    for name, expected in zip(("p1.png", "p2/b.png"), pixels, strict=True):
        with Image.open(tmp_path / "out" / name) as image:
            assert image.tobytes() == expected
        assert not (tmp_path / "out" / name).is_symlink()


def test_an_archive_export_is_taken_by_its_series(run: Run, tmp_path: Path) -> None:
    export = tmp_path / "in"
    slices(export, "1.2.11", [0, 3, 6, 9], lambda i: f"export/IM{7 * i % 11}")
    slices(export, "1.2.112", [0, 2, 4], lambda i: f"export/IM9{i}")
    slices(export, "1.2.1133", [0, 5, 10, 15], lambda i: f"DISC{i % 2}/S{i}")
    slices(export, "1.2.11444", [0, 2.5, 5, 7.5, 12.5, 17.5, 22.5], lambda i: f"head/{i}.dcm")
    slices(export, "1.2.115555", [0, 3, 6], lambda i: f"bad/{i}.dcm")
    data = (export / "bad" / "1.dcm").read_bytes()
    (export / "bad" / "1.dcm").write_bytes(data[:-100])
    done, records = run(export, tmp_path / "out")
    assert done.returncode == 1, done.stdout
    files = {path: record["files"] for path, record in records.items()}
    assert files == {
        "export/IM0": ["export/IM0", "export/IM10", "export/IM3", "export/IM7"],
        "export/IM90": ["export/IM90", "export/IM91", "export/IM92"],
        "DISC0/S0": ["DISC0/S0", "DISC0/S2", "DISC1/S1", "DISC1/S3"],
        "head": [f"head/{i}.dcm" for i in range(7)],
        "bad": [f"bad/{i}.dcm" for i in range(3)],
    }
    assert records["bad"]["status"] == "skipped"
    assert records["bad"]["reason"].startswith("1.dcm: its pixel data")
    assert not (tmp_path / "out" / "bad").exists()
    assert "unevenly spaced (2.500 to 5.000 mm)" in " ".join(records["head"]["warnings"])
    for path, record in records.items():
        if path == "bad":
            continue
        assert record["status"] == "done"
        # one drawn profile for all slices of a series, each written to the name of its source, as one new series
        assert sorted(output["path"] for output in record["outputs"]) == sorted(record["files"])
        uids = set()
        for name in record["files"]:
            before, after = pydicom.dcmread(export / name), pydicom.dcmread(tmp_path / "out" / name)
            assert after.ImagePositionPatient == before.ImagePositionPatient
            assert (after.pixel_array != before.pixel_array).any()
            uids.add(after.SeriesInstanceUID)
        assert len(uids) == 1
