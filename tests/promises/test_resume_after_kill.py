"""A folder run killed at any moment and started again ends in the same output tree as one that was never killed."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.bundle
import pytest

PATIENCE_S = 300


@pytest.fixture(scope="module")
def start(artefacts: dict[str, str], mixed_folder: Path, inference_config: str) -> Callable[..., Any]:
    """Start the workflow in a process of its own; the slow imports are done once, in the server they fork from."""
    context = multiprocessing.get_context("forkserver")
    rooms = ("shr.transforms", "rhm.inferer", "imaging.loader", "imaging.writer", "workflow.evaluator", "preflight")
    context.set_forkserver_preload(["monai.bundle", "monai.handlers", *(f"frerec.{room}" for room in rooms)])

    def start(output_dir: Path, **overrides: Any) -> Any:
        settings = {"config_file": inference_config, "dataset_dir": str(mixed_folder), "device": "cpu", "batch_size": 1}
        process = context.Process(
            target=monai.bundle.run, kwargs={**settings, **artefacts, "output_dir": str(output_dir), **overrides}
        )
        process.start()
        return process

    return start


@pytest.fixture(scope="module")
def undisturbed(
    start: Callable[..., Any], output_tree: Callable[[Path], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The output tree of a run that was never killed."""
    output_dir = tmp_path_factory.mktemp("undisturbed")
    process = start(output_dir)
    process.join(PATIENCE_S)
    assert process.exitcode == 1, "one file of the folder is broken"
    return output_tree(output_dir)


def kill_once_written(process: Any, output_dir: Path, files: int) -> bool:
    """Kill as soon as so many files, finished or not, lie in the folder. Returns whether it was still running."""
    give_up = time.monotonic() + PATIENCE_S
    while process.is_alive() and time.monotonic() < give_up:
        if sum(path.is_file() for path in output_dir.rglob("*")) >= files:
            break
        time.sleep(0.001)
    alive = process.is_alive()
    process.kill()
    process.join()
    return alive


def test_the_folder_is_what_we_think(undisturbed: dict[str, Any]) -> None:
    lines = [value["status"] for key, value in undisturbed.items() if key.startswith("line of ")]
    assert sorted(lines) == ["done"] * 8 + ["ignored", "skipped"]


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_again_and_again(
    seed: int,
    start: Callable[..., Any],
    undisturbed: dict[str, Any],
    output_tree: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
) -> None:
    rng = random.Random(seed)
    written, kills = 0, 0
    for _ in range(3):
        written = rng.randint(written + 1, written + 6)
        kills += kill_once_written(start(tmp_path), tmp_path, written)
    assert kills > 0
    last = start(tmp_path)
    last.join(PATIENCE_S)
    assert last.exitcode == 1
    assert output_tree(tmp_path) == undisturbed


def test_one_of_two_shards_is_killed(
    start: Callable[..., Any],
    undisturbed: dict[str, Any],
    output_tree: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
) -> None:
    shards = [start(tmp_path, shard_index=i, shard_count=2) for i in range(2)]
    kill_once_written(shards[1], tmp_path, 6)
    shards[0].join(PATIENCE_S)
    assert shards[0].exitcode in (0, 1)
    # the run without shards finishes the rest and merges the manifests
    last = start(tmp_path)
    last.join(PATIENCE_S)
    assert last.exitcode == 1
    assert output_tree(tmp_path) == undisturbed
