from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from frerec.errors import InputError
from frerec.io.listing import FolderItem
from frerec.io.loader import LoadMedicalImaged
from frerec.run.folder import FolderDataset, LoadedItem, keep_as_list
from frerec.run.manifest import Manifest
from frerec.run.outcome import Outcome
from tests.io.dicom.objects import save_series


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
    outcome = FolderDataset([FolderItem("gone.png", (tmp_path / "gone.png",))], plain.load)[0].outcome
    assert (outcome.status, outcome.sha256) == ("skipped", None)
    assert "no such file" in outcome.reason


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
    item = FolderItem(
        "scan", (Path("/data/scan/1.dcm"), Path("/data/scan/2.dcm")), names=names, warnings=("it is 4-D",)
    )
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
    items = (LoadedItem(FolderItem("a", (Path("/a"),))), LoadedItem(FolderItem("b", (Path("/b"),))))
    assert keep_as_list(items) == list(items)


def test_each_series_of_a_flat_folder_is_loaded_by_its_own_files_in_every_shard(tmp_path: Path) -> None:
    volumes = {}
    for series, count in (("1.2.1", 4), ("1.2.22", 3)):
        volumes[series] = np.random.default_rng(count).integers(0, 900, (count, 6, 5)).astype(np.int16)
        save_series(tmp_path / series, volumes[series], SeriesInstanceUID=series)
        (tmp_path / "in").mkdir(exist_ok=True)
        for path in (tmp_path / series).iterdir():
            path.rename(tmp_path / "in" / f"{path.stem}{series[-1]}")
    # a slice cut in its header cannot be told to belong to a series: named itself, and missed in the stack
    (tmp_path / "in" / "0021").write_bytes((tmp_path / "in" / "0021").read_bytes()[:200])
    load = LoadMedicalImaged("image", root=tmp_path / "in")
    found = {}
    for shard in range(3):
        manifest = Manifest(tmp_path / "out", {}, shard_index=shard, shard_count=3)
        for loaded in FolderDataset(str(tmp_path / "in"), load, manifest):
            found[loaded.item.path] = loaded
    assert sorted(found) == ["0011", "0012", "0021"]
    assert found["0021"].outcome.status == "skipped"
    assert found["0012"].item.names == ("0012", "0022", "0032")
    for first, expected in (("0011", volumes["1.2.1"][[0, 1, 3]]), ("0012", volumes["1.2.22"])):
        assert np.array_equal(found[first].data["image"][0].numpy(), np.moveaxis(expected, 0, -1))
    source = found["0011"].data["image"].meta["frerec"]["source"]
    assert "6.000 mm" in source.warnings[0]
