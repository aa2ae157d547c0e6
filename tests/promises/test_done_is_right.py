"""What says `done` has to do with its input: files whose range is easy to mistake, through the command people run."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from tests.conftest import BundleCommand
from tests.io.dicom.objects import CT, dicom_object, save

DX = "1.2.840.10008.5.1.4.1.1.1.1"


def radiograph(low: float, high: float, dtype: str, seed: int) -> np.ndarray:
    """Something with a chest's smoothness: broad shapes, ribs, grain."""
    y, x = np.mgrid[:160, :144]
    image = np.exp(-((y - 80) ** 2 + (x - 70) ** 2) / 4000) + 0.1 * np.sin((x + y) / 9) * np.cos(y / 13)
    image += 0.01 * np.random.default_rng(seed).standard_normal(y.shape)
    return np.round(low + (high - low) * (image - image.min()) / np.ptp(image)).astype(dtype)


def write_inputs(folder: Path) -> None:
    Image.fromarray(radiograph(0, 4095, "<u2", 0)).save(folder / "twelve_bits.png")
    Image.fromarray(radiograph(0, 65535, "<u2", 1)).save(folder / "sixteen_bits.png")
    Image.fromarray(radiograph(40, 62, "u1", 2)).save(folder / "flat.png")
    tifffile.imwrite(folder / "offset.tif", radiograph(310, 720, "<u2", 3))
    tifffile.imwrite(folder / "high.tif", radiograph(31000, 33500, "<u2", 4))
    save(dicom_object(radiograph(0, 255, "u1", 5), SOPClassUID=CT, Modality="CT"), folder / "ct8.dcm")
    wide = {"SOPClassUID": DX, "Modality": "DX", "WindowCenter": 32768, "WindowWidth": 65535}
    save(dicom_object(radiograph(0, 4095, "<u2", 6), bits=12, **wide), folder / "dx12.dcm")
    save(dicom_object(radiograph(0, 4095, "<u2", 7), bits=16, **wide), folder / "dx16.dcm")
    nib.save(nib.Nifti1Image(radiograph(3, 21, "u1", 8), np.eye(4)), folder / "few_bytes.nii.gz")


def pixels(path: Path) -> np.ndarray:
    if path.suffix == ".dcm":
        return np.asarray(pydicom.dcmread(path).pixel_array, np.float64)
    if path.name.endswith(".nii.gz"):
        return np.asarray(nib.load(path).dataobj, np.float64)
    return np.asarray(tifffile.imread(path) if path.suffix == ".tif" else Image.open(path), np.float64)


def test_no_range_buries_an_image(bundle_root: Path, bundle_command: BundleCommand, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write_inputs(source)
    config = bundle_root / "configs" / "inference.json"
    bundle_command("run", "--config_file", config, "--dataset_dir", source, "--output_dir", out)
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    rules = {line["path"]: line["applied"]["normalize"]["rule"] for line in lines}
    assert rules == {
        "twelve_bits.png": "bits", "sixteen_bits.png": "stored", "flat.png": "robust", "offset.tif": "bits",
        "high.tif": "robust", "ct8.dcm": "stored", "dx12.dcm": "window", "dx16.dcm": "robust",
        "few_bytes.nii.gz": "robust",
    }  # fmt: skip
    for line in lines:
        old, new = pixels(source / line["path"]), pixels(out / line["outputs"][0]["path"])
        width = np.ptp(np.percentile(old, [0.5, 99.5]))
        psnr = peak_signal_noise_ratio(old, new, data_range=width)
        assert psnr > 25, line["path"]
        assert np.corrcoef(old.ravel(), new.ravel())[0, 1] > 0.95, line["path"]
        assert line["applied"]["likeness"]["psnr_db"] == pytest.approx(psnr, abs=0.02)


def test_a_range_forced_on_an_image_fails_with_its_figures(
    bundle_root: Path, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    tifffile.imwrite(source / "a.tif", radiograph(300, 700, "<u2", 3))
    words = ("run", "--config_file", bundle_root / "configs" / "inference.json", "--dataset_dir", source)
    forced = (*words, "--output_dir", out, "--intensity_range", "stored")
    done = bundle_command(*forced, check=False)
    assert done.returncode == 2
    assert "failed: a.tif: verify_output=True: the output has little to do with its input" in done.stdout
    assert not list(out.glob("a*"))
    bundle_command(*forced, "--verify_output", "False")
    assert (out / "a.tif").is_file()
