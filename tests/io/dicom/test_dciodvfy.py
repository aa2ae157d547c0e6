"""Written objects are as valid as their sources, by dicom3tools (David Clunie's validators)."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from tests.io.dicom.objects import dicom_object, enhanced_object, save

Run = Callable[..., dict[str, Any]]

# Every modality and kind of encoding in the corpus once, the small files preferred.
FILES = [
    "highdicom/data/test_files/ct_image.dcm",
    "highdicom/data/test_files/dx_image.dcm",
    "pydicom-data/data_store/data/693_J2KR.dcm",
    "pydicom-data/data_store/data/color-pl.dcm",
    "pydicom-data/data_store/data/emri_small_RLE.dcm",
    "pydicom-data/data_store/data/gdcm-US-ALOKA-16_big.dcm",
    "pydicom-data/data_store/data/JLSL_16_15_1_1F.dcm",
    "pydicom-data/data_store/data/MR-SIEMENS-DICOM-WithOverlays.dcm",
    "pydicom-data/data_store/data/OBXXXX1A_2frame.dcm",
    "pydicom-data/data_store/data/parametric_map_float.dcm",
    "pydicom-data/data_store/data/RG3_J2KI.dcm",
    "pydicom-data/data_store/data/SC_rgb_16bit.dcm",
    "pydicom-data/data_store/data/SC_ybr_full_uncompressed.dcm",
]


@pytest.mark.parametrize("name", FILES)
def test_no_error_that_the_source_did_not_have(
    shared_data: Path, tmp_path: Path, recalibrate: Run, dicom_errors: Callable[[Path], Counter[str]], name: str
) -> None:
    root = shared_data / "dicom"
    generator = {"manufacturer": "ACME", "model": "GAN", "version": "1"}
    recalibrate(root / name, root, tmp_path, change=0.02, synthetic=True, generator=generator)
    new = dicom_errors(tmp_path / name) - dicom_errors(root / name)
    assert new == Counter()


@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm", "JPGExtended.dcm"])
def test_nor_for_decompressed_colour(
    tmp_path: Path, recalibrate: Run, dicom_errors: Callable[[Path], Counter[str]], name: str
) -> None:
    found = get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"this pydicom comes without {name}")
    for change in (0.0, 0.02):
        recalibrate(Path(found), Path(found).parent, tmp_path, change=change)
        assert dicom_errors(tmp_path / name) - dicom_errors(Path(found)) == Counter()


# Kinds of image objects by the end of their SOP class: single pictures, and frames with functional groups.
SINGLE = ["1", "1.1", "1.2", "2", "4", "6.1", "7", "12.1", "20", "77.1.4", "77.1.5.1", "77.1.5.2", "128", "481.1"]
GROUPED = ["2.1", "2.2", "4.1", "4.3", "6.2", "12.1.1", "13.1.1", "13.1.3", "14.1", "30", "77.1.5.4", "128.1", "130"]


@pytest.mark.parametrize("kind", [*SINGLE, *GROUPED])
def test_nor_for_any_kind_of_object(
    tmp_path: Path, recalibrate: Run, dicom_errors: Callable[[Path], Counter[str]], kind: str
) -> None:
    pixels = np.random.default_rng(1).integers(0, 4096, (3, 16, 12)).astype(np.uint16)
    uid = f"1.2.840.10008.5.1.4.1.1.{kind}"
    if kind in GROUPED:
        dataset = enhanced_object(pixels, [0.0, 2.0, 4.0], [1.0] * 3)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    else:
        dataset = dicom_object(pixels[0], bits=12, ImageType=["ORIGINAL", "PRIMARY"])
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid
    (tmp_path / "in").mkdir()
    path = save(dataset, tmp_path / "in" / "x.dcm")
    recalibrate(path, tmp_path / "in", tmp_path / "out", change=0.02)
    assert dicom_errors(tmp_path / "out" / "x.dcm") - dicom_errors(path) == Counter()


def test_a_written_series_is_consistent(shared_data: Path, tmp_path: Path, recalibrate: Run) -> None:
    tool = shutil.which("dcentvfy")
    if tool is None:
        pytest.skip("dcentvfy is not installed (Debian package dicom3tools)")

    def entities(files: list[Path]) -> list[str]:
        command = [tool, *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]

    root = shared_data / "dicom" / "example-dicom-structural"
    item = recalibrate(root / "dicoms", root, tmp_path, change=0.01)
    written = sorted((tmp_path / "dicoms").iterdir())
    assert [str(path) for path in written] == sorted(path for path, _ in item["saved"][0].files)
    before = entities(sorted((root / "dicoms").iterdir()))
    assert len(written) == 40 and len(entities(written)) <= len(before)
    # Source and derived series together: same patient and study, another series.
    together = entities([*sorted((root / "dicoms").iterdir()), *written])
    assert not [line for line in together if "Study" in line or "Patient" in line]
