"""Building a reference bank from files: by command line, in parts, with bad files among them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose
from PIL import Image
from pydicom.data import get_testdata_file

from frerec.errors import ConfigError
from frerec.io.intensity import NormalizeRanged
from frerec.io.loader import LoadMedicalImaged
from frerec.run.bank_building import BankBuilding, ReferenceDataset
from frerec.run.folder import keep_as_list
from frerec.shr.bank.reference import ReferenceBank


def pictures(folder: Path, count: int, seed: int = 0, size: tuple[int, int] = (32, 40)) -> list[Path]:
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{seed}_{i:02d}.png" for i in range(count)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(path)
    return paths


def build(path: Path, real_dir: Path | None = None, workers: int = 0, **settings: object) -> ReferenceBank:
    transform = Compose([LoadMedicalImaged("image", channels=1), NormalizeRanged("image")])
    listed = {name: settings.pop(name) for name in ("datalist", "split") if name in settings}
    dataset = ReferenceDataset(real_dir, transform, **listed)  # type: ignore[arg-type]
    loader = DataLoader(dataset, batch_size=1, num_workers=workers, collate_fn=keep_as_list)
    return BankBuilding(loader, path, **settings).run()  # type: ignore[arg-type]


def test_equals_a_bank_built_from_arrays(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "real", 5)
    bank = build(tmp_path / "bank.safetensors", tmp_path / "real", kind="pixels", licence="CC0")
    arrays = [np.asarray(Image.open(path), dtype=np.float32)[None] / 255 for path in paths]
    assert bank.sha256 == ReferenceBank.build(arrays, kind="pixels", licence="CC0").sha256
    again = build(tmp_path / "again.safetensors", tmp_path / "real", workers=2, kind="pixels", licence="CC0")
    assert again.sha256 == bank.sha256


def test_datalist_gives_split_and_patients(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "real", 6)
    with (tmp_path / "list.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "split", "patient"])
        patients = ["Miller", "Smith", "Miller", "", "Jones", "Smith"]
        rows.writerows([f"real/{p.name}", "val" if i == 4 else "train", patients[i]] for i, p in enumerate(paths))
    bank = build(tmp_path / "bank.safetensors", datalist=tmp_path / "list.csv", split="train")
    assert bank.tensors["group"].tolist() == [0, 1, 0, -1, 1]
    assert b"Miller" not in (tmp_path / "bank.safetensors").read_bytes()


def test_dicom_patients_are_told_apart_by_their_id(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    for i, patient in enumerate(["P1", "P2", "P1", ""]):
        dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        dataset.PatientID = patient
        dataset.SeriesInstanceUID = f"{dataset.SeriesInstanceUID}.{i}"
        pixels = dataset.pixel_array.copy()
        pixels[:20] += 10 * i
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(tmp_path / "real" / f"{i}.dcm")
    bank = build(tmp_path / "bank.safetensors", tmp_path / "real")
    assert bank.tensors["group"].tolist() == [0, 1, 0, -1]


def test_grows_by_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "bank.safetensors"
    pictures(tmp_path / "real", 3)
    first = build(path, tmp_path / "real", n_rings=9)
    pictures(tmp_path / "real", 2, seed=1)
    with pytest.raises(ConfigError, match=r"there is a file already.*--append True.*--overwrite True"):
        build(path, tmp_path / "real")
    grown = build(path, tmp_path / "real", append=True)
    assert len(grown) == 5
    assert grown.info == first.info
    assert torch.equal(grown.profiles[:3], first.profiles)
    # with nothing new the file stays as it is
    assert build(path, tmp_path / "real", append=True).sha256 == grown.sha256
    assert len(build(path, tmp_path / "real", overwrite=True)) == 5


def test_patients_of_a_later_part_are_new_ones(tmp_path: Path) -> None:
    # the bank keeps no name, so it cannot know a patient again
    path = tmp_path / "bank.safetensors"
    for part in range(2):
        images = pictures(tmp_path / "real", 2, seed=part)
        text = "image,patient\n" + "".join(f"{image.name},A\n" for image in images)
        (tmp_path / "real" / f"{part}.csv").write_text(text)
        build(path, datalist=tmp_path / "real" / f"{part}.csv", append=True)
    assert ReferenceBank.open(path).tensors["group"].tolist() == [0, 0, 1, 1]


def test_no_usable_image_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "broken.png").write_bytes(pictures(tmp_path / "other", 1)[0].read_bytes()[:200])
    with pytest.raises(SystemExit) as ended:
        build(tmp_path / "bank.safetensors", tmp_path / "real")
    assert ended.value.code == 2
    assert "broken.png" in capsys.readouterr().err
    assert not (tmp_path / "bank.safetensors").exists()


def test_neither_folder_nor_datalist_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"real_dir=None.*Set one"):
        build(tmp_path / "bank.safetensors")


def test_command_line_from_another_directory(
    tmp_path: Path, bundle_root: Path, bundle_command: Callable[..., CompletedProcess[str]]
) -> None:
    images = pictures(tmp_path / "real", 4)
    pictures(tmp_path / "real", 1, seed=3, size=(20, 20))
    (tmp_path / "real" / "broken.png").write_bytes(images[0].read_bytes()[:200])
    (tmp_path / "real" / "notes.txt").write_text("not an image")
    path = tmp_path / "bank.safetensors"
    done = bundle_command(
        "run", "--config_file", bundle_root / "configs" / "build_bank.json", "--real_dir", "real",
        "--bank_path", "bank.safetensors", "--licence", "CC0", cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert "skipped: broken.png:" in done.stdout
    assert "skipped: 3_00.png: the image is of size (20, 20), the reference bank's are (32, 40)" in done.stdout
    assert "4 images added, 2 skipped, 1 other files passed over" in done.stdout
    assert "Traceback" not in done.stdout
    bank = ReferenceBank.open(path)
    assert (len(bank), bank.info.kind, bank.info.licence) == (4, "statistics", "CC0")
    assert bank.sha256 in done.stdout


def test_volumes_are_measured_with_their_spacing(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    random = np.random.default_rng(0)
    for i in range(2):
        volume = nibabel.Nifti1Image(random.random((16, 14, 12)).astype(np.float32), np.diag([1, 1, 2.5, 1]))
        nibabel.save(volume, tmp_path / "real" / f"{i}.nii.gz")
    bank = build(tmp_path / "bank.safetensors", tmp_path / "real", spatial_dims=3)
    assert sorted(bank.info.spacing or ()) == [1.0, 1.0, 2.5]
    flat = build(tmp_path / "flat.safetensors", tmp_path / "real", spatial_dims=2)
    assert (flat.info.spacing, len(flat)) == (None, 2)
