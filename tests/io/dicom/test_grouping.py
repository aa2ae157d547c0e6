"""Which files are one volume, told by their headers and never by where they lie or how they are called."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frerec.io.dicom.grouping import FileGroup, group_files
from frerec.io.listing import look
from tests.io.dicom.objects import AXIAL, CT, dicom_object, save

PIXELS = np.arange(20, dtype=np.uint8).reshape(4, 5)
SAGITTAL = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]


def write(path: Path, height: float | None, *, series: str = "1.2.1", pixels: np.ndarray = PIXELS, **more: Any) -> Path:
    """A slice at a height along the patient; without one, a picture without a place."""
    place = {} if height is None else {"ImagePositionPatient": [0, 0, height], "ImageOrientationPatient": AXIAL}
    known = {"SOPClassUID": CT, "Modality": "CT", "SeriesInstanceUID": series, "PixelSpacing": [1, 1], **place, **more}
    path.parent.mkdir(parents=True, exist_ok=True)
    return save(dicom_object(pixels, **known), path)


def group_of(files: Iterable[Path]) -> list[FileGroup]:
    return group_files({path: look(path).slice for path in files})


def grouped(root: Path) -> list[list[str]]:
    """Names in each group below a folder, asked for in two orders."""
    files = [path for path in root.rglob("*") if path.is_file()]
    random.Random(3).shuffle(files)
    groups = group_of(files)
    assert groups == group_of(files[::-1])
    assert sorted(path for group in groups for path in group.files) == sorted(files)
    return [[path.relative_to(root).as_posix() for path in group.files] for group in groups]


def test_series_are_told_apart_in_one_folder_and_found_together_over_several(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / "flat" / f"{i}", i, series="1.2.1")
        write(tmp_path / "flat" / f"{i}x", i + 0.5, series="1.2.2")
        write(tmp_path / f"disc{i}" / "slice", i, series="1.2.3")
    assert grouped(tmp_path) == [
        ["disc0/slice", "disc1/slice", "disc2/slice"],
        ["flat/0", "flat/1", "flat/2"],
        ["flat/0x", "flat/1x", "flat/2x"],
    ]


def test_what_is_no_slice_stays_by_itself(tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / "without_position" / f"{i}", None)
        write(tmp_path / "without_series" / f"{i}", i, series="")
        write(tmp_path / "frames" / f"{i}", i, pixels=np.stack([PIXELS, PIXELS]))
        write(tmp_path / "one_place" / f"{i}", 7, series="1.2.4")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "frames" / "0").read_bytes()[:150])
    dataset = dicom_object(PIXELS, SeriesInstanceUID="1.2.1")
    dataset.add_new("NumberOfFrames", "LO", "many")
    save(dataset, tmp_path / "malformed")
    assert all(len(group) == 1 for group in grouped(tmp_path))


def test_one_series_uid_for_all_patients_does_not_mix_them(tmp_path: Path) -> None:
    for patient in "ab":
        for i in range(2):
            write(tmp_path / patient / f"{i}", i, PatientID=patient)
    assert grouped(tmp_path) == [["a/0", "a/1"], ["b/0", "b/1"]]


def test_a_localizer_is_parted_by_orientation_and_size(tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / f"axial{i}", i)
        write(tmp_path / f"large{i}", i, pixels=np.tile(PIXELS, (2, 2)))
        write(tmp_path / f"sagittal{i}", None, ImagePositionPatient=[i, 0, 0], ImageOrientationPatient=SAGITTAL)
    write(tmp_path / "scout", 9, PixelSpacing=[2, 2])
    expected = [["axial0", "axial1"], ["large0", "large1"], ["sagittal0", "sagittal1"], ["scout"]]
    assert grouped(tmp_path) == expected


def test_a_second_copy_is_a_volume_of_its_own(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / "study" / f"{i}", i)
    shutil.copytree(tmp_path / "study", tmp_path / "study (copy)")
    shutil.copy(tmp_path / "study" / "1", tmp_path / "study" / "again")
    assert grouped(tmp_path) == [
        ["study/0", "study/1", "study/2"],
        ["study/again"],
        ["study (copy)/0", "study (copy)/1", "study (copy)/2"],
    ]
    warned = [group for group in group_of(tmp_path.rglob("*/*")) if group.warnings]
    assert len(warned) == 2
    assert all("copies of other files" in group.warnings[0] for group in warned)


def test_one_sop_instance_uid_for_all_slices_does_not_part_them(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"{i}", i, SOPInstanceUID="1.2.3.4")
    assert grouped(tmp_path) == [["0", "1", "2"]]


@pytest.mark.parametrize(
    ("attribute", "values"),
    [
        ("TemporalPositionIdentifier", [1, 2]),
        ("EchoTime", [4.6, 9.2]),
        ("AcquisitionNumber", [7, 3]),
        ("DiffusionBValue", [0.0, 1000.0]),
        ("ImageType", [["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]]),
    ],
)
def test_the_volumes_of_a_4d_series_are_told_apart(tmp_path: Path, attribute: str, values: list[Any]) -> None:
    for i in range(3):
        for name, value in zip("ab", values, strict=True):
            # the second volume ends earlier: a scan that was broken off
            if (name, i) != ("b", 2):
                write(tmp_path / f"{i}{name}", i, **{attribute: value})
    assert grouped(tmp_path) == [["0a", "1a", "2a"], ["0b", "1b"]]
    assert f"told apart by {attribute}" in group_of(tmp_path.iterdir())[0].warnings[0]


@pytest.mark.parametrize("slices_first", [True, False])
def test_time_points_without_a_key_follow_instance_number(tmp_path: Path, slices_first: bool) -> None:
    for i in range(3):
        for time in range(2):
            number = 1 + (time * 3 + i if slices_first else i * 2 + time)
            write(tmp_path / f"{i}{'ab'[time]}", i, InstanceNumber=number)
    assert grouped(tmp_path) == [["0a", "1a", "2a"], ["0b", "1b", "2b"]]


def test_a_4d_series_in_no_order_is_taken_slice_by_slice(tmp_path: Path) -> None:
    for i in range(3):
        for name in "ab":
            write(tmp_path / f"{i}{name}", i, InstanceNumber=1)
    assert all(len(group) == 1 for group in grouped(tmp_path))
    assert all("taken by itself" in group.warnings[0] for group in group_of(tmp_path.iterdir()))


def test_the_real_mr_series_is_one_volume(shared_data: Path) -> None:
    groups = grouped(shared_data / "dicom" / "example-dicom-structural")
    assert sum(len(group) == 40 for group in groups) == 1


def test_the_real_fmri_series_is_ten_volumes(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "dcm_qa_nih" / "In" / "20180918GE" / "mr_0004"
    groups = [group for group in grouped(folder) if group[0].endswith(".dcm")]
    assert [len(group) for group in groups] == [15] * 10
    # ten volumes of fifteen slices, numbered through: so dcm2niix reads them, too
    names = sorted(path.name for path in folder.glob("*.dcm"))
    assert groups == [names[15 * i : 15 * i + 15] for i in range(10)]
