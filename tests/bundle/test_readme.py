"""The README's two commands are what they claim to be, and its first one really runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

INSTALL = "python3 -m venv .venv && . .venv/bin/activate && pip install -c constraints.txt -e"


@pytest.fixture(scope="module")
def commands(bundle_root: Path) -> list[str]:
    return re.findall(r"^```bash\n(.*?)\n```$", (bundle_root / "README.md").read_text(), re.M | re.S)


def steps(command: str) -> list[list[str]]:
    """The parts of a chain joined by &&, each as words."""
    return [shlex.split(part) for part in command.replace("\n", " ").split("&&")]


def test_exactly_two_commands_that_install_the_same_way(commands: list[str]) -> None:
    main_job, tests = commands
    assert main_job.startswith(f"{INSTALL} .")
    assert tests.startswith(f'{INSTALL} ".[test]"')
    assert steps(tests)[-1][0] == "pytest"


def test_every_config_and_id_the_readme_names_exists(commands: list[str], bundle_root: Path) -> None:
    runs = [words for words in steps(commands[0]) if words[:4] == ["python", "-m", "monai.bundle", "run"]]
    assert [words[5] for words in runs] == [f"configs/{name}.json" for name in ("generate", "inference", "evaluate")]
    for words in runs:
        config = json.loads((bundle_root / words[5]).read_text())
        overrides = {word.removeprefix("--") for word in words[6::2]}
        assert overrides <= config.keys(), f"{words[5]} has no {overrides - config.keys()}"


def test_links_of_the_documentation_resolve(bundle_root: Path) -> None:
    pages = [bundle_root / "README.md", bundle_root / "models" / "README.md", *(bundle_root / "docs").rglob("*.md")]
    missing = [
        f"{page.relative_to(bundle_root)} -> {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not missing


@pytest.fixture(scope="module")
def bare_copy(bundle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Code, configs and models only, as a user would copy them to another machine."""
    copy = tmp_path_factory.mktemp("bare copy")
    for folder in ("bundle", "configs", "models"):
        shutil.copytree(bundle_root / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return copy


def test_the_first_command_runs(commands: list[str], bare_copy: Path) -> None:
    # The environment that runs the tests stands in for the one the first steps would make and fill.
    chain = commands[0].removeprefix(f"{INSTALL} . &&")
    assert chain != commands[0]
    environment = os.environ | {"PYTHONPATH": str(bare_copy / "bundle")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", chain],
        cwd=bare_copy,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    report = bare_copy / "output" / "report"
    assert json.loads((report / "metrics.json").read_text())
    assert (report / "report.html").read_text().lstrip().lower().startswith("<!doctype html>")
    with Image.open(report / "strip.png") as strip:
        assert min(strip.size) > 100
    generated = {path.stem for path in (bare_copy / "output" / "generated").rglob("*.png")}
    recalibrated = {path.stem for path in (bare_copy / "output" / "recalibrated").rglob("*.png")}
    assert len(generated) > 1 and recalibrated == generated
