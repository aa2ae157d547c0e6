"""What becomes of an image does not depend on batch size, neighbours, order, workers or shards, to the last bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow

from frerec.rhm.precision import network_dtype
from frerec.run.manifest import merge_manifests

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run(
    artefacts: dict[str, str],
    mixed_folder: Path,
    inference_config: str,
    output_tree: Callable[[Path], dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """Run inference.json and return its output tree."""

    def run(output_dir: Path | None = None, dataset_dir: Path = mixed_folder, **overrides: Any) -> dict[str, Any]:
        output_dir = output_dir or tmp_path_factory.mktemp("out") / "out"
        workflow = ConfigWorkflow(
            inference_config, workflow_type="inference", logging_file=False, device="cpu", **artefacts,
            dataset_dir=str(dataset_dir), output_dir=str(output_dir), **overrides,
        )  # fmt: skip
        workflow.initialize()
        assert workflow.check_properties() == []
        try:
            workflow.run()
        except SystemExit as ended:
            assert ended.code == 1, "one file of the folder is broken"
        return output_tree(output_dir)

    return run


@pytest.fixture(scope="module")
def one_by_one(run: Run) -> dict[str, Any]:
    return run(batch_size=1)


def test_images_were_changed(one_by_one: dict[str, Any], mixed_folder: Path) -> None:
    pictures = list(mixed_folder.rglob("picture_*.png"))
    assert len(pictures) == 5
    for path in pictures:
        assert one_by_one[path.relative_to(mixed_folder).as_posix()] != path.read_bytes()


@pytest.mark.parametrize("settings", [{"batch_size": 3}, {"batch_size": 16}, {"batch_size": 2, "num_workers": 2}])
def test_batches_and_workers(settings: dict[str, int], run: Run, one_by_one: dict[str, Any]) -> None:
    assert run(**settings) == one_by_one


def test_without_mixed_precision_as_with_it(run: Run, one_by_one: dict[str, Any]) -> None:
    """Both are the same however the work is cut; where the processor has no bfloat16, both are one."""
    exact = run(batch_size=1, amp=False)
    assert run(batch_size=3, num_workers=2, amp=False) == exact
    assert exact.keys() == one_by_one.keys()
    bfloat16 = network_dtype("cpu", True) == torch.bfloat16
    assert (exact["scan_0.nii.gz"] != one_by_one["scan_0.nii.gz"]) == bfloat16


def test_shards(run: Run, one_by_one: dict[str, Any], tmp_path: Path) -> None:
    trees = [run(tmp_path, batch_size=2, shard_index=i, shard_count=3) for i in (2, 0, 1)]
    assert trees[0] != trees[1] != trees[2]
    merge_manifests(tmp_path)
    assert run(tmp_path) == one_by_one


def test_neighbours_and_order(run: Run, one_by_one: dict[str, Any], mixed_folder: Path, tmp_path: Path) -> None:
    """An image alone in its folder, under the same name, becomes what it became among others."""
    for name in ("picture_2.png", "scan_2.nii.gz"):
        alone = tmp_path / name.split(".")[0]
        alone.mkdir()
        shutil.copy(mixed_folder / name, alone / name)
        found = run(dataset_dir=alone)
        assert found == {key: value for key, value in one_by_one.items() if name in key}


def test_another_seed_gives_another_result(run: Run, one_by_one: dict[str, Any]) -> None:
    found = run(seed=1)
    assert found.keys() == one_by_one.keys()
    assert found["picture_2.png"] != one_by_one["picture_2.png"]
