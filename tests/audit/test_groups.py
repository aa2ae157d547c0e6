from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from frerec.audit.groups import audit_items, pair_by_name, relative_name
from frerec.errors import ConfigError, InputError
from frerec.io.datalist import find_images
from tests.audit.conftest import PlantedSets


def items(planted: PlantedSets, **folders: Any) -> list[dict[str, Any]]:
    return audit_items(find_images, None, planted.synthetic, datalist=planted.datalist, split="test", **folders)


def test_every_group_is_listed_with_its_inputs(planted: PlantedSets) -> None:
    found = items(
        planted, recalibrated_dir=planted.recalibrated, recalibrated_real_dir=planted.recalibrated_real,
        training_split="train",
    )  # fmt: skip
    counts = {g: sum(i["group"] == g for i in found) for g in {i["group"] for i in found}}
    assert counts == {"real": 24, "synthetic": 24, "recalibrated": 24, "recalibrated_real": 24, "training": 20}
    derived = [i for i in found if i["group"] == "recalibrated_real"]
    assert all(Path(i["reference"]).name == Path(i["image"]).name for i in derived)
    # the partner's patient comes along, so that the two are never split in cross-validation
    assert derived[0]["patient"] == "patient 0"
    assert all(i["reference"] is None for i in found if i["group"] in ("real", "synthetic", "training"))


def test_a_datalist_without_training_images_is_no_error(planted: PlantedSets) -> None:
    groups = {item["group"] for item in items(planted, training_split="nobody")}
    assert groups == {"real", "synthetic"}


def test_derived_images_without_an_input_in_the_audit_are_left_out(planted: PlantedSets, tmp_path: Path) -> None:
    folder = tmp_path / "recalibrated"
    folder.mkdir()
    for name in ("s01.png", "stranger.png"):
        (folder / name).write_bytes((planted.recalibrated / "s01.png").read_bytes())
    found = [i for i in items(planted, recalibrated_dir=folder) if i["group"] == "recalibrated"]
    assert [Path(i["image"]).name for i in found] == ["s01.png"]


def test_a_folder_that_belongs_to_nothing_is_refused(planted: PlantedSets) -> None:
    with pytest.raises(InputError, match="recalibrated_dir"):
        items(planted, recalibrated_dir=planted.recalibrated_real)


def test_synthetic_images_are_needed(planted: PlantedSets) -> None:
    with pytest.raises(ConfigError, match="synthetic_dir"):
        audit_items(find_images, planted.real, None)


def test_the_longest_common_tail_that_is_unique_decides() -> None:
    sources = ["a/1", "b/1", "b/2"]
    assert pair_by_name(["a/1", "x/b/1", "x/2", "1", "3"], sources) == {"a/1": "a/1", "x/b/1": "b/1", "x/2": "b/2"}


@pytest.mark.parametrize(
    ("file", "name"), [("x/a.b.png", "x/a.b"), ("v.nii.gz", "v"), ("series", "series"), ("1.2.3.dcm", "1.2.3")]
)
def test_names_have_no_endings(tmp_path: Path, file: str, name: str) -> None:
    assert relative_name(tmp_path / file, tmp_path) == name
