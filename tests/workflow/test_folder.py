from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from frerec.errors import InputError
from frerec.workflow.folder import FolderDataset, LoadedItem, keep_as_list
from frerec.workflow.items import FolderItem
from frerec.workflow.manifest import Manifest
from frerec.workflow.outcome import Outcome


def test_bad_items_become_outcomes(tmp_path: Path, plain: SimpleNamespace) -> None:
    plain.make_folder(tmp_path, count=2)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("x")
    loaded = {item.item.path: item for item in FolderDataset(str(tmp_path), plain.load)}
    assert loaded["image_00.png"].data["image"].shape == (1, 16, 16)
    assert loaded["image_00.png"].outcome is None
    assert loaded["broken.png"].outcome.status == "skipped"
    assert loaded["broken.png"].outcome.sha256
    assert loaded["broken.png"].outcome.remedy == "Replace it"
    assert loaded["notes.txt"].outcome.status == "ignored"


def test_an_unexpected_error_is_a_failure_of_that_item(tmp_path: Path, plain: SimpleNamespace) -> None:
    def transform(data: dict[str, Any]) -> dict[str, Any]:
        warnings.warn("Doe^Jane", stacklevel=1)
        raise KeyError("Doe^Jane")

    plain.make_folder(tmp_path, count=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = FolderDataset(str(tmp_path), transform)[0].outcome
    assert outcome.status == "failed"
    assert "Doe" not in outcome.line()
    assert "KeyError" in outcome.reason


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, plain: SimpleNamespace) -> None:
    outcome = FolderDataset([FolderItem("gone.png", (str(tmp_path / "gone.png"),))], plain.load)[0].outcome
    assert (outcome.status, outcome.sha256) == ("failed", None)
    assert "No such file" in outcome.reason


def test_shards_partition_the_folder(tmp_path: Path, plain: SimpleNamespace) -> None:
    plain.make_folder(tmp_path / "in", count=5)
    parts = [
        FolderDataset(str(tmp_path / "in"), plain.load, Manifest(tmp_path / "out", {}, shard_index=i, shard_count=3))
        for i in range(3)
    ]
    names = [item.path for part in parts for item in part.data]
    assert sorted(names) == [item.path for item in FolderDataset(str(tmp_path / "in"), plain.load).data]
    assert {part.total for part in parts} == {5}
    assert max(len(part) for part in parts) - min(len(part) for part in parts) <= 1


def test_the_outcome_of_a_series_names_its_files_and_what_is_known_of_them() -> None:
    names = ("scan/1.dcm", "scan/2.dcm")
    item = FolderItem("scan", ("/data/scan/1.dcm", "/data/scan/2.dcm"), names=names, warnings=("it is 4-D",))
    outcome = LoadedItem(item, "abc").fail(InputError("scan", "2.dcm: the file is empty", "Fetch it again"))
    assert outcome == Outcome(
        "scan", "skipped", "abc", reason="2.dcm: the file is empty", remedy="Fetch it again", files=list(names),
        warnings=["it is 4-D"],
    )  # fmt: skip
    assert LoadedItem(item).finish("done", warnings=["clipped"]).warnings == ["it is 4-D", "clipped"]


def test_a_missing_folder_is_told(plain: SimpleNamespace) -> None:
    with pytest.raises(InputError, match="no such folder"):
        FolderDataset("/does/not/exist", plain.load)


def test_keep_as_list() -> None:
    items = (LoadedItem(FolderItem("a", ("/a",))), LoadedItem(FolderItem("b", ("/b",))))
    assert keep_as_list(items) == list(items)
