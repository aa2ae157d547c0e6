"""Processes that torchrun starts share a folder: each image once, one manifest, whatever becomes of one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from monai.bundle import ConfigWorkflow

from frerec import rank, world_size
from frerec.errors import ConfigError

Tree = Callable[[Path], dict[str, Any]]
PATIENCE_S = 300


@pytest.fixture(scope="module")
def words(artefacts: dict[str, str], mixed_folder: Path, inference_config: str) -> list[str]:
    """The command line of inference.json without its output folder, as torchrun takes it."""
    ids = {"config_file": inference_config, "dataset_dir": mixed_folder, "device": "cpu", "batch_size": 1, **artefacts}
    return ["-m", "monai.bundle", "run", *(word for name, value in ids.items() for word in (f"--{name}", str(value)))]


@pytest.fixture(scope="module")
def alone(words: list[str], output_tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The output tree of one process."""
    folder = tmp_path_factory.mktemp("alone")
    done = subprocess.run([sys.executable, *words, "--output_dir", str(folder)], stdin=subprocess.DEVNULL)
    assert done.returncode == 1, "one file of the folder is broken"
    return output_tree(folder)


def torchrun(processes: int, words: list[str], output_dir: Path) -> subprocess.Popen[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return subprocess.Popen(
        [*launch, *words, "--output_dir", str(output_dir)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_one_is_killed_and_another_number_of_processes_goes_on(
    words: list[str], alone: dict[str, Any], output_tree: Tree, tmp_path: Path
) -> None:
    running = torchrun(2, words, tmp_path)
    give_up = time.monotonic() + PATIENCE_S
    while not (tmp_path / "manifest.1-of-2.jsonl").exists():
        assert running.poll() is None and time.monotonic() < give_up
        time.sleep(0.01)
    (second,) = [child for child in psutil.Process(running.pid).children() if child.environ().get("RANK") == "1"]
    second.kill()
    told, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 1, told
    # what each had done is kept in its own file, and nobody claims that the folder is finished
    assert (tmp_path / "manifest.1-of-2.jsonl").exists() and not (tmp_path / "manifest.jsonl").exists()

    again = torchrun(3, words, tmp_path)
    told, _ = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 1, told
    for index in range(3):
        assert f"shard {index} of 3: " in told
    assert output_tree(tmp_path) == alone
    assert [path.name for path in tmp_path.glob("manifest*")] == ["manifest.jsonl"]
    assert list(tmp_path.rglob(".*")) == []


def test_who_is_done_early_with_a_broken_file_waits_for_the_others(
    words: list[str], output_tree: Tree, mixed_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    # In order of name: the first process has one broken file and nothing else, the second one all the work. If the
    # first left at once, torchrun would end the second.
    (folder / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "1.nii.gz").write_bytes((mixed_folder / "scan_2.nii.gz").read_bytes())
    running = torchrun(2, [*words, "--dataset_dir", str(folder)], tmp_path / "out")
    told, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 1, told
    lines = map(json.loads, (tmp_path / "out" / "manifest.jsonl").read_text().splitlines())
    assert {line["path"]: line["status"] for line in lines} == {"0.png": "skipped", "1.nii.gz": "done"}


def test_a_process_without_an_image_is_no_failure(
    artefacts: dict[str, str],
    mixed_folder: Path,
    inference_config: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes((mixed_folder / "picture_0.png").read_bytes())
    monkeypatch.setenv("WORLD_SIZE", "3")
    for index in "021":
        monkeypatch.setenv("RANK", index)
        workflow = ConfigWorkflow(
            inference_config, workflow_type="inference", logging_file=False, device="cpu", **artefacts,
            dataset_dir=str(folder), output_dir=str(tmp_path / "out"),
        )  # fmt: skip
        workflow.initialize()
        workflow.run()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "a.png.json", "manifest.jsonl"]


def test_variables_that_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.delenv("RANK", raising=False)
    assert (rank(), world_size()) == (0, 1)
    monkeypatch.setenv("RANK", "-1")
    with pytest.raises(ConfigError, match="RANK='-1': not a whole number from 0 on"):
        rank()
