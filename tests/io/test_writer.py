"""The saver: what came in goes out in the same format, depth and place, and says what was done to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from PIL import Image

from frerec.errors import ConfigError, InputError
from frerec.io.loader import LoadMedicalImage
from frerec.io.provenance import run_settings
from frerec.io.ranges import IntensityRange
from frerec.io.records import note
from frerec.io.writer import SaveRecalibrated, SaveRecalibratedd, Written

Run = Callable[..., dict[str, Any]]


def report(item: dict[str, Any]) -> Written:
    return item["saved"][-1]


def png(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (9, 11), dtype=np.uint8)
    return png(tmp_path / "in" / "a" / "b.png", values)


def test_the_tree_is_mirrored_and_the_report_is_true(tmp_path: Path, picture: Path, recalibrate: Run) -> None:
    item = recalibrate(picture, tmp_path / "in", tmp_path / "out", change=0.01)
    written = report(item)
    expected = [str(tmp_path / "out" / "a" / "b.png"), str(tmp_path / "out" / "a" / "b.png.json")]
    assert [path for path, _ in written.files] == expected
    for path, sha256 in written.files:
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == sha256
    sidecar = json.loads((tmp_path / "out" / "a" / "b.png.json").read_text())
    assert sidecar["source"] == {"name": "a/b.png", "sha256": hashlib.sha256(picture.read_bytes()).hexdigest()}
    assert sidecar["sha256"] == written.files[0][1]
    assert str(tmp_path) not in json.dumps(sidecar)


def test_what_shr_applied_and_the_weights_are_recorded(tmp_path: Path, picture: Path) -> None:
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    settings = run_settings({"weights": str(weights)}, impose=True, synthetic="auto")
    image = LoadMedicalImage(tmp_path / "in")(picture)
    shr = {"strength": 0.3, "top_k": 5, "seed": 1, "drawn": 17}
    note(image, shr=shr, normalize=IntensityRange(0.0, 255.0, "stored", ""))
    written = SaveRecalibrated(str(tmp_path / "out"), settings=settings)(image)
    record = written.provenance
    assert record["settings"] == {"strength": 0.3, "top_k": 5, "seed": 1, "impose": True}
    assert record["sample"] == {"drawn": 17, "normalize": {"lower": 0.0, "upper": 255.0}}
    assert record["weights_sha256"] == hashlib.sha256(b"weights").hexdigest()


def test_two_runs_give_the_same_bytes(tmp_path: Path, make_dicom: Callable[..., Path], recalibrate: Run) -> None:
    values = np.random.default_rng(1).integers(-1000, 3000, (8, 9), dtype=np.int16)
    make_dicom(tmp_path / "in" / "x.dcm", values)
    png(tmp_path / "in" / "x.png", values.astype(np.uint8))
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "in" / "x.nii.gz")
    for output in ("one", "two"):
        for path in sorted((tmp_path / "in").iterdir()):
            recalibrate(path, tmp_path / "in", tmp_path / output, change=0.05)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["x.dcm", "x.nii.gz", "x.nii.gz.json", "x.png", "x.png.json"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_values_are_clipped_and_counted_never_wrapped(tmp_path: Path, recalibrate: Run) -> None:
    values = np.array([[0, 10, 250], [255, 128, 4]], np.uint8)
    path = png(tmp_path / "in" / "p.png", values)
    shift = torch.tensor([[-0.5, 0.0, 0.5], [0.5, 0.0, -0.5]])
    item = recalibrate(path, tmp_path / "in", tmp_path / "out", change=lambda image: image + shift)
    out = np.asarray(Image.open(tmp_path / "out" / "p.png"))
    assert out.tolist() == [[0, 10, 255], [255, 128, 0]]
    assert report(item).likeness["clipped"] == pytest.approx(4 / 6, abs=1e-6)
    told = "it has little to do with its input: 67% of its values were cut off (limit 1%)"
    assert report(item).warnings == (told,)


def test_jpeg_and_bmp_become_png(tmp_path: Path, recalibrate: Run) -> None:
    values = np.random.default_rng(2).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for name in ("photo.jpg", "scan.bmp"):
        png(tmp_path / "in" / name, values)
        item = recalibrate(tmp_path / "in" / name, tmp_path / "in", tmp_path / "out")
        assert Path(report(item).files[0][0]).suffix == ".png"
        expected = np.asarray(Image.open(tmp_path / "in" / name))
        assert np.array_equal(np.asarray(Image.open(report(item).files[0][0])), expected)


def test_a_prediction_without_metadata_is_written_like_its_reference(tmp_path: Path, picture: Path) -> None:
    image = LoadMedicalImage(tmp_path / "in")(picture)
    item = {"image": image, "pred": image.as_tensor().clone()}
    SaveRecalibratedd("pred", str(tmp_path / "out"))(item)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/a/b.png")), np.asarray(Image.open(picture)))


def test_batched_and_decollated_images_can_be_written(tmp_path: Path, recalibrate: Run) -> None:
    rng = np.random.default_rng(3)
    paths = [png(tmp_path / "in" / f"{i}.png", rng.integers(0, 256, (8, 8), dtype=np.uint8)) for i in range(2)]
    load = LoadMedicalImage(tmp_path / "in")
    items = [{"image": load(path)} for path in paths]
    for index, item in enumerate(items):
        note(item["image"], shr={"seed": 0, "drawn": index}, normalize=IntensityRange(0.0, 255.0, "stored", ""))
    batch = list_data_collate(items)
    batch["pred"] = batch["image"].as_tensor() + 1
    save = SaveRecalibratedd("pred", str(tmp_path / "out"))
    written = [report(save(item)) for item in decollate_batch(batch)]
    assert [record.provenance["sample"]["drawn"] for record in written] == [0, 1]
    for path in paths:
        expected = np.minimum(np.asarray(Image.open(path)).astype(int) + 1, 255)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / path.name)), expected)


def test_an_input_is_never_overwritten(tmp_path: Path, picture: Path, recalibrate: Run) -> None:
    before = picture.read_bytes()
    with pytest.raises(InputError, match="would overwrite it"):
        recalibrate(picture, tmp_path / "in", tmp_path / "in", change=0.1, overwrite=True)
    assert picture.read_bytes() == before
    assert [path.name for path in picture.parent.iterdir()] == ["b.png"]


def test_foreign_files_are_kept_and_own_outputs_renewed(tmp_path: Path, picture: Path, recalibrate: Run) -> None:
    target = png(tmp_path / "out" / "a" / "b.png", np.zeros((4, 4), np.uint8))
    foreign = target.read_bytes()
    with pytest.raises(InputError, match="not an output of this software"):
        recalibrate(picture, tmp_path / "in", tmp_path / "out")
    assert target.read_bytes() == foreign
    recalibrate(picture, tmp_path / "in", tmp_path / "out", overwrite=True)
    first = target.read_bytes()
    recalibrate(picture, tmp_path / "in", tmp_path / "out", change=0.1)
    assert target.read_bytes() not in (foreign, first)


def test_a_foreign_dicom_file_is_kept(tmp_path: Path, make_dicom: Callable[..., Path], recalibrate: Run) -> None:
    values = np.arange(64, dtype=np.int16).reshape(8, 8)
    make_dicom(tmp_path / "in" / "x.dcm", values)
    make_dicom(tmp_path / "out" / "x.dcm", values + 1)
    with pytest.raises(InputError, match="not an output of this software"):
        recalibrate(tmp_path / "in" / "x.dcm", tmp_path / "in", tmp_path / "out")
    recalibrate(tmp_path / "in" / "x.dcm", tmp_path / "in", tmp_path / "new")
    recalibrate(tmp_path / "in" / "x.dcm", tmp_path / "in", tmp_path / "new", change=0.1)
    assert not np.array_equal(pydicom.dcmread(tmp_path / "new" / "x.dcm").pixel_array, values)


@pytest.mark.parametrize("setting", [True, False, "auto"])
@pytest.mark.parametrize("declared", [True, False])
def test_an_image_that_says_it_is_synthetic_stays_so(
    tmp_path: Path, make_dicom: Callable[..., Path], recalibrate: Run, setting: bool | str, declared: bool
) -> None:
    path = make_dicom(tmp_path / "in" / "x.dcm", np.arange(64, dtype=np.int16).reshape(8, 8))
    if declared:
        dataset = pydicom.dcmread(path)
        dataset.add_new(0x0008001C, "CS", "YES")
        dataset.save_as(path)
    item = recalibrate(path, tmp_path / "in", tmp_path / "out", synthetic=setting)
    marked = declared or setting is True
    out = pydicom.dcmread(tmp_path / "out" / "x.dcm")
    assert (0x0008001C in out) is marked
    assert report(item).synthetic is marked
    kinds = [entry.PurposeOfReferenceCodeSequence[0].CodeValue for entry in out.ContributingEquipmentSequence]
    assert kinds == (["109100", "109102"] if marked else ["109102"])
    contradicted = declared and setting is False
    assert any("synthetic=false" in line for line in report(item).warnings) is contradicted


def test_arguments_are_checked() -> None:
    with pytest.raises(ConfigError, match="synthetic='maybe'"):
        SaveRecalibrated("out", synthetic="maybe")
    with pytest.raises(ConfigError, match="generator"):
        SaveRecalibrated("out", generator={"vendor": "x"})
    with pytest.raises(ConfigError, match=r"generator\.model"):
        SaveRecalibrated("out", generator={"model": "ü" * 3})


def test_images_of_unknown_origin_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reference_key"):
        SaveRecalibrated(str(tmp_path))(MetaTensor(torch.zeros(1, 4, 4)))
    assert list(tmp_path.iterdir()) == []
