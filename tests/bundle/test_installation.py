"""Installed from a wheel into a bare environment, with no checkout in reach, the package is a whole bundle."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import frerec
from tests.bundle.dockerfile import copied

Ran = subprocess.CompletedProcess[str]

@pytest.fixture(scope="module")
def installed(bundle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of an environment that the wheel of a copy was installed into; the copy is gone."""
    work = tmp_path_factory.mktemp("an installation, of [1] kind")
    copy = work / "bundle"
    copy.mkdir()
    # what a container is built from: tests, scripts and most of the documentation are not needed to install it
    for name in copied(bundle_root):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
        if (bundle_root / name).is_dir():
            shutil.copytree(bundle_root / name, copy / name, ignore=ignored)
        else:
            shutil.copy(bundle_root / name, copy / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", work, copy], check=True)
    shutil.rmtree(copy)
    environment = work / "environment"
    venv.create(environment)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    (wheel,) = work.glob("*.whl")
    installer = [*pip, "--python", scripts / "python", "install", "--no-deps", "--no-index", wheel]
    subprocess.run(installer, check=True)
    # the other packages are those of this environment, behind its own; a path in a .pth file reads no further .pth,
    # so that an installation in place beside them stays out of sight
    (own,) = environment.rglob("site-packages")
    packages = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (own / "others.pth").write_text("\n".join(packages))
    return scripts


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Callable[..., Ran]:
    """Run a script of the environment in an empty folder; returns what came out, output and errors together."""
    (tmp_path / "elsewhere").mkdir()

    def run(script: str, *words: object, code: int = 0) -> Ran:
        done = subprocess.run(
            [installed / script, *map(str, words)],
            cwd=tmp_path / "elsewhere",
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == code, done.stdout[-6000:]
        return done

    return run


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder whose name Python would take for a list, with two pictures."""
    folder = tmp_path / "elsewhere" / "a,b"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    for index in range(2):
        rows = np.add.outer(np.arange(64), np.arange(64)) + rng.normal(0, 6, (64, 64)) + 20 * index
        Image.fromarray(np.clip(rows, 0, 255).astype(np.uint8)).save(folder / f"{index}.png")
    return folder


def statuses(output: Path) -> list[str]:
    return [json.loads(line)["status"] for line in (output / "manifest.jsonl").read_text().splitlines()]


def test_what_ships_is_found(run: Callable[..., Ran], installed: Path) -> None:
    found = Path(run("python", "-c", "import frerec; print(frerec.bundle_root())").stdout.strip())
    assert found.is_relative_to(installed.parent)
    assert (found / "models" / "checksums.sha256").is_file()
    assert run("frerec", "--version").stdout == f"frerec {frerec.__version__}\n"


def test_a_folder_is_recalibrated_by_the_command(run: Callable[..., Ran], pictures: Path, tmp_path: Path) -> None:
    # names that Python Fire would take for a tuple and for a number
    run("frerec", "inference", "--dataset_dir", "a,b", "--output_dir=2024", "--device", "cpu")
    output = tmp_path / "elsewhere" / "2024"
    assert statuses(output) == ["done", "done"]
    assert (output / "0.png").read_bytes() != (pictures / "0.png").read_bytes()
    with (tmp_path / "elsewhere" / "list.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["image"], ["0.png"]])
    words = ("--dataset_dir", pictures, "--datalist", "list.csv", "--strength", "0.5", "--device", "cpu")
    run("frerec", "inference", *words, "--output_dir", "[out] of 1, 2")
    assert statuses(tmp_path / "elsewhere" / "[out] of 1, 2") == ["done"]


def test_monai_runs_the_configs_of_the_wheel(run: Callable[..., Ran], pictures: Path, tmp_path: Path) -> None:
    root = run("python", "-c", "import frerec; print(frerec.bundle_root())").stdout.strip()
    overlay = tmp_path / "elsewhere" / "mine, [really].json"
    overlay.write_text(json.dumps({"use_network": False, "output_dir": "out"}))
    files = [str(Path(root) / "configs" / "inference.json"), str(overlay)]
    run("python", "-m", "monai.bundle", "run", "--config_file", repr(files), "--dataset_dir", pictures)
    assert statuses(tmp_path / "elsewhere" / "out") == ["done", "done"]
    # the same by the command
    run("frerec", "inference", overlay.name, "--dataset_dir", pictures, "--output_dir", "again")
    for name in ("0.png", "1.png"):
        first, second = ((tmp_path / "elsewhere" / folder / name).read_bytes() for folder in ("out", "again"))
        assert first == second


def test_a_mistake_ends_with_one_line_and_code_3(run: Callable[..., Ran], pictures: Path) -> None:
    for words, told in (
        (("infrence",), "frerec infrence: command='infrence': there is no such command. Did you mean inference.\n"),
        (
            ("inference", "--datset_dir", "a,b"),
            "frerec inference: datset_dir='a,b': the config has no such id. Did you mean dataset_dir.\n",
        ),
        (("train", "gone.json"), "frerec train: gone.json: No such file or directory. Check the path.\n"),
    ):
        assert run("frerec", *words, code=3).stdout == told
    # what only the preflight can know is told as everywhere
    lines = run("frerec", "inference", "--dataset_dir", "gone", code=3).stdout.splitlines()
    assert "inference cannot start: 1 problem" in lines


def test_help_lists_every_id_of_every_command(run: Callable[..., Ran], bundle_root: Path) -> None:
    overview = run("frerec", "--help").stdout
    for path in sorted((bundle_root / "configs").glob("*.json")):
        config = json.loads(path.read_text())
        if "bundle_root" not in config:
            continue
        command = path.stem.replace("_", "-")
        assert f"\n  {command} " in overview
        told = run("frerec", command, "--help").stdout
        plain = {key for key, value in config.items() if isinstance(value, int | float)}
        assert len(plain) > 3
        for key in plain:
            assert f"\n  --{key} ({json.dumps(config[key])})\n" in told
