from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from frerec.errors import InputError
from frerec.workflow.items import FolderItem, find_items, is_side_file


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


def test_groups_become_one_item(tmp_path: Path) -> None:
    write(tmp_path, "s/1", "s/2", "t/1", "t/2", "t/3", "4", "5")

    def grouping(paths: list[Path]) -> list[list[Path]]:
        of = {name: [p for p in paths if str(p.relative_to(tmp_path.resolve())) in name] for name in
              (("s/1", "s/2"), ("t/1", "t/2"), ("t/3",), ("4", "5"))}  # fmt: skip
        return list(of.values())

    items = {item.path: item for item in find_items(tmp_path, grouping=grouping)}
    # a folder of its own, a shared folder, the top folder
    assert set(items) == {"s", "t/1", "t/3", "4"}
    assert items["s"].is_series
    sums = [hashlib.sha256(name.encode()).hexdigest() for name in ("s/1", "s/2")]
    assert items["s"].sha256() == hashlib.sha256("".join(sums).encode()).hexdigest()
    assert items["t/3"].sha256() == hashlib.sha256(b"t/3").hexdigest()


def test_a_datalist_narrows_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png", "sub/c.png")
    (tmp_path / "list.csv").write_text("image,label\nsub/c.png,x\na.png,y\na.png,y\n")
    assert [item.path for item in find_items(tmp_path, tmp_path / "list.csv")] == ["a.png", "sub/c.png"]
    write(tmp_path.parent, "outside.png")
    (tmp_path / "list.csv").write_text("image\n../outside.png\n")
    with pytest.raises(InputError, match="outside"):
        find_items(tmp_path, tmp_path / "list.csv")


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "in/a.png", "secret.png")
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "secret.png")
    assert [item.path for item in find_items(tmp_path / "in")] == ["a.png"]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_items(tmp_path / "absent")


def test_side_files() -> None:
    assert is_side_file("a/image.png.json")
    assert is_side_file("README")
    assert not is_side_file("IM0001")
    assert not FolderItem("a", ("/a",)).is_series
