from __future__ import annotations

import json
from pathlib import Path

import pytest

from frerec.errors import ConfigError, InputError
from frerec.io.datalist import read_datalist


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "größe, 2.png"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("commas.csv", "image,label\na.png,x\nb.png,y\n"),
        ("semicolons.csv", "image;label\r\na.png;x\r\nb.png;y\r\n"),
        ("tabs.tsv", "image\tlabel\na.png\tx\nb.png\ty\n"),
        ("mark_of_a_spreadsheet.csv", '\ufeff"label";"image"\nx;a.png\ny;b.png\n'),
        ("blanks.csv", "image, label\na.png, x\n\nb.png, y\n"),
        ("twice.csv", "image,label\na.png,x\nb.png,y\na.png,x\n"),
        ("list.json", '[{"image": "a.png", "label": "x"}, {"image": "b.png", "label": "y"}]'),
    ],
)
def test_ways_to_write_a_datalist(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content, encoding="utf-8", newline="")
    rows = read_datalist(folder / name)
    assert [(Path(row["image"]).name, row["label"]) for row in rows] == [("a.png", "x"), ("b.png", "y")]
    assert all(Path(row["image"]).is_absolute() for row in rows)


def test_a_quoted_name_may_hold_the_separator(folder: Path) -> None:
    (folder / "list.csv").write_text('image,label\n"größe, 2.png",x\n', encoding="utf-8")
    assert Path(read_datalist(folder / "list.csv")[0]["image"]).name == "größe, 2.png"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", '[{"image": "a.png"}, {"image": 7}]', "row 2 names no image"),
        ("a.json", '[{"image": null}]', "row 1 names no image"),
        ("a.json", '[{"image": ["a.png", "b.png"]}]', "row 1 names no image"),
        ("a.json", '["a.png"]', "row 1 names no image"),
        ("a.json", '{"training": [{"image": "a.png"}]}', "not a list of rows"),
        ("a.json", "[]", "it has no row"),
        ("a.json", "[" * 100_000, "not a readable datalist"),
        ("a.json", '[{"image": "a.png"', "not a readable datalist"),
        ("a.csv", "image,label\n", "it has no row"),
        ("a.csv", "file,label\na.png,x\n", "row 1 names no image"),
        ("a.csv", "image,label\na.png,x\n,y\n", "row 2 names no image"),
        ("a.csv", "image,label\na.png,x\na.png,y\n", "named twice"),
        ("a.csv", "image\nc.png\n", "named in"),
        ("a.csv", b"\xff\xfei\x00m\x00", "not a readable datalist"),
    ],
)
def test_what_is_no_datalist(folder: Path, name: str, content: str | bytes, reason: str) -> None:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as raised:
        read_datalist(folder / name)
    assert reason in raised.value.reason
    assert "\n" not in str(raised.value)


def test_splits_that_are_numbers(folder: Path) -> None:
    (folder / "list.json").write_text(json.dumps([{"image": "a.png", "split": 0}, {"image": "b.png", "split": 1}]))
    assert [Path(row["image"]).name for row in read_datalist(folder / "list.json", split="1")] == ["b.png"]
    with pytest.raises(ConfigError, match="only 0, 1"):
        read_datalist(folder / "list.json", split="test")
