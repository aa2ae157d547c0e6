from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, decollate_batch
from monai.transforms import Compose
from PIL import Image

from frerec.errors import InputError
from frerec.io.formats import InputFile
from frerec.io.intensity import NormalizeRanged, RestoreRanged
from frerec.io.loader import LoadMedicalImage, LoadMedicalImaged
from frerec.io.writer import encoded_pixels
from tests.io.dicom.objects import AXIAL, dicom_object, save, save_series

NOISE = np.random.default_rng(8)


def picture(path, size=(6, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(NOISE.integers(0, 255, size).astype(np.uint8)).save(path)
    return path


def test_meta_data_are_those_of_the_contract(tmp_path):
    path = picture(tmp_path / "set" / "a.png")
    image = LoadMedicalImage(tmp_path)(path)
    assert image.dtype == torch.float32
    assert image.shape == (1, 6, 8)
    assert image.affine.tolist() == np.eye(4).tolist()
    assert image.meta["filename_or_obj"] == str(path)
    assert image.meta["spacing"].tolist() == [1.0, 1.0]
    source = image.meta["frerec"]["source"]
    assert source.relative_path == "set/a.png"
    assert source.kind == "png"
    assert len(source.sha256) == 64
    # only what was handed over open stays open
    assert source.files[0].data is None
    assert source.files[0].content() == path.read_bytes()
    assert LoadMedicalImage()(InputFile.read(path)).meta["frerec"]["source"].files[0].data == path.read_bytes()


def test_relative_path_is_the_bare_name_outside_the_root(tmp_path):
    path = picture(tmp_path / "set" / "a.png")
    for root in (None, tmp_path / "elsewhere"):
        assert LoadMedicalImage(root)(path).meta["frerec"]["source"].relative_path == "a.png"


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path):
    path = picture(tmp_path / "a.png")
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert LoadMedicalImage()(path).meta["frerec"]["source"].sha256 == expected


def test_a_dicom_image_lies_where_its_header_says(tmp_path):
    dataset = dicom_object(
        NOISE.integers(0, 99, (3, 4)).astype(np.uint8),
        ImageOrientationPatient=AXIAL,
        ImagePositionPatient=[-10, -20, 5],
        PixelSpacing=[0.5, 0.75],
        SliceThickness=4,
    )
    image = LoadMedicalImage()(save(dataset, tmp_path / "a.dcm"))
    # Rows run to posterior (+y in LPS), columns to the left (+x in LPS).
    assert image.affine.tolist() == [[0, -0.75, 0, 10], [-0.5, 0, 0, 20], [0, 0, 4, 5], [0, 0, 0, 1]]
    assert image.meta["spacing"].tolist() == [0.5, 0.75]


def test_meta_data_survive_the_dataloader_of_a_workflow(tmp_path):
    stored = [NOISE.integers(0, 4000, (6, 8)).astype(np.uint16) for _ in range(4)]
    paths = [
        save(dicom_object(values, Modality="MR"), tmp_path / f"{index}.dcm") for index, values in enumerate(stored)
    ]
    warned = dicom_object(stored[3], Modality="MR", LossyImageCompression="01", PixelPaddingValue=17)
    paths[3] = save(warned, tmp_path / "3.dcm")
    pre = Compose([LoadMedicalImaged("image", root=tmp_path), NormalizeRanged("image")])
    loader = DataLoader(Dataset([{"image": path} for path in paths], pre), batch_size=4, num_workers=0)
    batch = next(iter(loader))
    assert batch["image"].shape == (4, 1, 6, 8)
    for item, values in zip(
        decollate_batch({"image": batch["image"], "pred": batch["image"].as_tensor()}), stored, strict=True
    ):
        item = RestoreRanged("pred", reference_key="image")(item)
        frerec = item["pred"].meta["frerec"]
        result = encoded_pixels(item["pred"].numpy(), frerec["source"], frerec["applied"])[0]
        assert np.array_equal(result.array, values)


def test_a_series_folder_and_a_file_go_through_one_transform(tmp_path):
    folder = save_series(tmp_path / "series", NOISE.integers(0, 99, (3, 4, 5)).astype(np.int16))
    data = LoadMedicalImaged(["a", "b", "c"], allow_missing_keys=True)({"a": folder, "b": picture(tmp_path / "b.png")})
    assert data["a"].shape == (1, 4, 5, 3)
    assert data["b"].shape == (1, 6, 8)


@pytest.mark.parametrize("path", ["", [""], []])
def test_an_empty_name_is_not_the_working_directory(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^'': no (image of this name is known|file is named)\. Name "):
        LoadMedicalImage()(path)


@pytest.mark.parametrize("name", ["missing.png", "", "pipe"])
def test_what_is_no_file_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"no such file|no file but a named pipe|no DICOM image"):
        LoadMedicalImage()(tmp_path / name)


def test_the_processed_image_must_keep_its_size_and_be_finite(tmp_path):
    image = LoadMedicalImage()(picture(tmp_path / "a.png"))
    source = image.meta["frerec"]["source"]
    with pytest.raises(InputError, match=r"the processed image is \[1, 6, 7\], the original \[1, 6, 8\]"):
        encoded_pixels(image.numpy()[..., :-1], source)
    with pytest.raises(InputError, match="the processed image holds NaN"):
        encoded_pixels(image.numpy() * np.nan, source)
