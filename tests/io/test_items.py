from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from frerec.errors import InputError
from frerec.io.datalist import files_below
from frerec.io.listing import FolderItem, find_items, is_side_file
from tests.io.dicom.objects import AXIAL, dicom_object, save


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_every_visible_file_is_an_item_in_order(tmp_path: Path) -> None:
    write(tmp_path, "b.png", "a/IM0001", "a/notes.txt", ".hidden", ".git/config", "c.nii.gz", "DICOMDIR")
    items = find_items(tmp_path)
    assert [item.path for item in items] == ["DICOMDIR", "a/IM0001", "a/notes.txt", "b.png", "c.nii.gz"]
    assert [item.path for item in items if item.is_side_file] == ["DICOMDIR", "a/notes.txt"]


def write_slices(names: list[Path], series: str) -> None:
    for height, path in enumerate(names):
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset = dicom_object(
            np.arange(20, dtype=np.uint8).reshape(4, 5), SeriesInstanceUID=series, PixelSpacing=[1, 1],
            ImagePositionPatient=[0, 0, height], ImageOrientationPatient=AXIAL,
        )  # fmt: skip
        save(dataset, path)


def test_a_series_is_one_item(tmp_path: Path) -> None:
    write(tmp_path, "t/3", "s/notes.txt")
    write_slices([tmp_path / "s/1", tmp_path / "s/2"], "1.2.1")
    write_slices([tmp_path / "t/1", tmp_path / "t/2"], "1.2.2")
    write_slices([tmp_path / "4", tmp_path / "5"], "1.2.3")
    write_slices([tmp_path / "u/1", tmp_path / "v/1"], "1.2.4")
    items = {item.path: item for item in find_items(tmp_path, group_series=True)}
    # a folder of its own, a shared folder, the top folder, two folders
    assert set(items) == {"s", "s/notes.txt", "t/1", "t/3", "4", "u/1"}
    assert items["u/1"].names == ("u/1", "v/1")
    assert items["s"].files == (tmp_path / "s/1", tmp_path / "s/2")
    assert len(find_items(tmp_path)) == 10


def listed(root: Path, beside: Path | None = None) -> list[FolderItem]:
    return find_items(root, files_below((beside or root) / "list.csv", root))


def test_a_datalist_narrows_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png", "sub/c.png")
    (tmp_path / "list.csv").write_text("image,label\nsub/c.png,x\na.png,y\na.png,y\n")
    assert [item.path for item in listed(tmp_path)] == ["a.png", "sub/c.png"]
    write(tmp_path.parent, "outside.png")
    (tmp_path / "list.csv").write_text("image\n../outside.png\n")
    with pytest.raises(InputError, match="outside"):
        listed(tmp_path)


def test_links_are_followed_under_their_own_names(tmp_path: Path) -> None:
    write(tmp_path, "store/0f3a", "store/patient/1.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "store" / "0f3a")
    (tmp_path / "in" / "p1").symlink_to(Path("..") / "store" / "patient")
    (tmp_path / "alias").symlink_to(tmp_path / "in")
    for root in (tmp_path / "in", tmp_path / "alias", tmp_path / "store" / ".." / "in"):
        items = find_items(root)
        assert [(item.path, item.problem) for item in items] == [("link.png", None), ("p1/1.png", None)]
        assert items[0].files[0].read_bytes() == b"store/0f3a"
    (tmp_path / "list.csv").write_text("image\nlink.png\np1/1.png\n")
    assert [item.path for item in listed(tmp_path / "in", tmp_path)] == ["link.png", "p1/1.png"]
    (tmp_path / "list.csv").write_text(f"image\n{tmp_path}/in/link.png\n")
    assert [item.path for item in listed(tmp_path / "alias", tmp_path)] == ["link.png"]


def test_what_cannot_be_read_as_a_file_is_an_item_with_its_problem(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "out/1.png")
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "dangling").symlink_to("elsewhere")
    (tmp_path / "notes.txt").symlink_to("nowhere.txt")
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "zero").symlink_to("/dev/zero")
    items = {item.path: item for item in find_items(tmp_path, group_series=True, closed=[tmp_path / "out"])}
    told = {path: item.problem[0] for path, item in items.items() if item.problem}
    assert told == {
        "pipe.dcm": "no file but a named pipe",
        "dangling": "a link to nothing",
        "notes.txt": "a link to nothing",
        "circle.png": "cannot be reached (Too many levels of symbolic links)",
        "up": "a link back to a folder that it lies in",
        "zero": "no file but a device",
        "out": "the folder of the outputs",
    }
    assert set(items) - set(told) == {"a.png"}
    (tmp_path / "list.csv").write_text("image\npipe.dcm\nout\n")
    assert [item.problem[0] for item in listed(tmp_path) if item.problem] == [
        "no file but a folder",
        "no file but a named pipe",
    ]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_items(tmp_path / "absent")


def test_side_files() -> None:
    assert is_side_file("a/image.png.json")
    assert is_side_file("README")
    assert not is_side_file("IM0001")
