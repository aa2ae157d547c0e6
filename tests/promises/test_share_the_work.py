"""Processes that torchrun starts share a folder: each image once, one manifest, whatever becomes of one of them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from monai.bundle import ConfigParser, ConfigWorkflow

from frerec import rank, world_size
from frerec.errors import ConfigError

Tree = Callable[[Path], dict[str, Any]]
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT / "bundle"),
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


@pytest.fixture(scope="module")
def words(
    artefacts: dict[str, str], mixed_folder: Path, inference_config: str, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """The command line of inference.json without its output folder, as torchrun takes it."""
    folder = tmp_path_factory.mktemp("many") / "images"
    shutil.copytree(mixed_folder, folder)
    # enough of them that a process is met at work
    for index in range(30):
        shutil.copy(mixed_folder / "picture_0.png", folder / f"more_{index:02d}.png")
    ids = {"config_file": inference_config, "dataset_dir": folder, "device": "cpu", "batch_size": 1, **artefacts}
    return ["-m", "monai.bundle", "run", *(word for name, value in ids.items() for word in (f"--{name}", str(value)))]


@pytest.fixture(scope="module")
def alone(words: list[str], output_tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The output tree of one process."""
    folder = tmp_path_factory.mktemp("alone")
    done = subprocess.run(
        [sys.executable, *words, "--output_dir", str(folder)], stdin=subprocess.DEVNULL, env=ENVIRONMENT
    )
    assert done.returncode == 1, "one file of the folder is broken"
    assert (folder / "manifest.jsonl").exists()
    return output_tree(folder)


def torchrun(processes: int, words: list[str], output_dir: Path) -> subprocess.Popen[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return subprocess.Popen(
        [*launch, *words, "--output_dir", str(output_dir)],
        env=ENVIRONMENT,
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
        assert running.poll() is None and time.monotonic() < give_up, running.communicate()
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


@pytest.fixture
def recipes(tmp_path: Path, mixed_folder: Path) -> tuple[list[str], Path, dict[str, str]]:
    """The code blocks of the page for a small folder, a folder for results, and an environment with the programs."""
    page = (ROOT / "docs" / "how-to" / "share_the_work.md").read_text()
    images, results, programs = tmp_path / "images", tmp_path / "results", tmp_path / "bin"
    images.mkdir()
    for index in range(3):
        shutil.copy(mixed_folder / "picture_0.png", images / f"{index}.png")
    programs.mkdir()
    for name, words in (("frerec", " -m frerec"), ("python", ""), ("torchrun", " -m torch.distributed.run")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        (programs / name).chmod(0o755)
    places = {"<images>": str(images), "<results>": str(results), "<bundle>": str(ROOT)}
    blocks = re.findall(r"^```(?:bash|python)\n(.*?)\n```$", page, re.M | re.S)
    for name, place in places.items():
        blocks = [block.replace(name, place) for block in blocks]
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return blocks, results, ENVIRONMENT | {"PATH": path}


def is_whole(results: Path) -> bool:
    """Whether everything is done and listed in one manifest."""
    (manifest,) = results.glob("manifest*")
    records = [json.loads(line) for line in manifest.read_text().splitlines()]
    return manifest.name == "manifest.jsonl" and [record["status"] for record in records] == ["done"] * 3


def test_the_torchrun_recipe_waits_for_all(recipes: tuple[list[str], Path, dict[str, str]], tmp_path: Path) -> None:
    blocks, results, environment = recipes
    # In order of name: the first process has one broken file and nothing else. If it left at once, torchrun would end
    # the second one.
    (tmp_path / "images" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "images" / "2.png").unlink()
    done = subprocess.run(["bash", "-c", blocks[0]], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    lines = map(json.loads, (results / "manifest.jsonl").read_text().splitlines())
    assert {line["path"]: line["status"] for line in lines} == {"0.png": "skipped", "1.png": "done"}


def test_the_slurm_recipe(recipes: tuple[list[str], Path, dict[str, str]], tmp_path: Path) -> None:
    """Slurm gives each task of the array these variables; the rest is up to the shell."""
    (script,) = [block for block in recipes[0] if "#SBATCH --array" in block]
    assert subprocess.run(["bash", "-n", "-c", script]).returncode == 0
    tasks = [
        subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=recipes[2] | {"SLURM_ARRAY_TASK_ID": index, "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"},
        )
        for index in "01"
    ]
    assert [task.wait(PATIENCE_S) for task in tasks] == [0, 0]
    assert is_whole(recipes[1])


def test_the_ray_recipe_even_if_a_process_is_killed(
    recipes: tuple[list[str], Path, dict[str, str]], tmp_path: Path
) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed (pip install ray)")
    blocks, results, environment = recipes
    (script,) = [block for block in blocks if "import ray" in block]
    (command,) = [block for block in blocks if "share_by_ray.py" in block]
    (tmp_path / "share_by_ray.py").write_text(script)
    running = subprocess.Popen(["bash", "-c", f"exec {command[:-1]}2"], cwd=tmp_path, env=environment)
    give_up = time.monotonic() + PATIENCE_S
    own = results / "manifest.1-of-2.jsonl"
    while not own.exists():
        assert running.poll() is None and time.monotonic() < give_up
        time.sleep(0.01)
    words = ["--shard_index", "1"]
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if str(results) in line and any(line[i : i + 2] == words for i in range(len(line))):
            process.kill()
    assert running.wait(PATIENCE_S) == 0
    assert is_whole(results)


@pytest.mark.parametrize("name", ["inference", "study"])
def test_a_share_asked_for_goes_before_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    parser = ConfigParser()
    parser.read_config(str(ROOT / "configs" / f"{name}.json"))
    ids = ("shard_index", "shard_count")
    assert [parser.get_parsed_content(key) for key in ids] == [3, 4]
    parser.parse(reset=True)
    parser.update({"shard_index": 0, "shard_count": 1})
    assert [parser.get_parsed_content(key) for key in ids] == [0, 1]


def test_variables_that_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.delenv("RANK", raising=False)
    assert (rank(), world_size()) == (0, 1)
    monkeypatch.setenv("RANK", "-1")
    with pytest.raises(ConfigError, match="RANK='-1': not a whole number from 0 on"):
        rank()
