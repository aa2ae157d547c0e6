"""The bundle passes the rules of MONAI's model zoo, and what is downloaded from there works."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import pytest

import frerec


@pytest.fixture(scope="module")
def script(bundle_root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_zoo_zip", bundle_root / "scripts" / "build_zoo_zip.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shipped(script: ModuleType, bundle_root: Path, tmp_path: Path) -> Path:
    """A copy of what ships, as a folder of the zoo."""
    folder = tmp_path / "models" / "frerec"
    script.copy_shipped(bundle_root, folder)
    return folder


def edit(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_the_rules_hold_and_tests_stay_behind(script: ModuleType, shipped: Path) -> None:
    assert list(script.rule_problems(shipped)) == []
    names = {path.relative_to(shipped).parts[0] for path in script.files_below(shipped)}
    assert {"LICENSE", "bundle", "configs", "docs", "models", "pyproject.toml"} <= names
    assert not names & {"tests", "scripts", ".ci", ".git"}


def test_each_broken_rule_is_told(script: ModuleType, shipped: Path) -> None:
    (shipped / "LICENSE").unlink()
    shutil.rmtree(shipped / "docs" / "how-to")
    (shipped / "docs" / "index.md").write_text("[gone](gone.md), [here](README.md#data), [web](https://example.org)")
    with (shipped / "models" / "model.pt").open("r+b") as stream:
        stream.truncate(25 * 2**20 + 1)
    configs = shipped / "configs"
    edit(configs / "train.json", lambda config: config["validate"].pop("key_metric"))
    edit(configs / "inference.json", lambda config: config.pop("device"))

    def spoil(metadata: dict) -> None:
        metadata["version"] = "0.0.9"
        metadata["required_packages_version"]["tqdm"] = "latest"

    edit(configs / "metadata.json", spoil)
    told = "\n".join(script.rule_problems(shipped))
    for expected in (
        "LICENSE is missing",
        "docs/index.md links to gone.md, which does not ship",
        "models/model.pt is larger than 25 MB",
        "configs/train.json lacks validate#key_metric",
        "configs/inference.json lacks device",
        "metadata.json: its version is not in its changelog",
        "metadata.json: 'latest' does not match",
    ):
        assert expected in told
    assert "index.md links to README" not in told and "example.org" not in told
    named = shipped.rename(shipped.with_name("chest_v2"))
    assert any("'_v'" in problem for problem in script.rule_problems(named))


def test_the_same_files_give_the_same_zip(script: ModuleType, tmp_path: Path) -> None:
    for turn in ("one", "two"):
        folder = tmp_path / turn / "bundle"
        for name in sorted(("b/x.txt", "a.txt"), reverse=turn == "two"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
        script.write_zip(folder, tmp_path / f"{turn}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.namelist() == ["bundle/a.txt", "bundle/b/x.txt"]


def test_the_zip_is_built_downloaded_and_run(script: ModuleType, bundle_root: Path, tmp_path: Path) -> None:
    for package in (*script.PLUGINS, "black", "isort", "flake8"):
        try:
            version(package)
        except PackageNotFoundError:
            pytest.skip(f"the zoo's code style needs {package}: pip install '.[zoo]'")
    words = [sys.executable, bundle_root / "scripts" / "build_zoo_zip.py", "--output_dir", tmp_path]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "generate.json and inference.json of the download: passed" in done.stdout
    with zipfile.ZipFile(tmp_path / f"frerec_v{frerec.__version__}.zip") as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"frerec"}
        for name in ("configs/inference.json", "models/model.pt"):
            assert archive.read(f"frerec/{name}") == (bundle_root / name).read_bytes()
