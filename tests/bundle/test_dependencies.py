"""pyproject.toml asks for what the code imports, and constraints.txt pins what pyproject.toml asks for."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = None

import pytest

# What a package is imported as, where that differs from the name it is installed by.
IMPORT_NAMES = {
    "ignite": "pytorch-ignite",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "png": "pypng",
    "SimpleITK": "simpleitk",
    "dicomweb_client": "dicomweb-client",
}


def imported(folder: Path) -> set[str]:
    """The installed packages that the Python files below a folder import."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    ours = {"frerec", "tests", "scripts", *(path.stem for path in folder.glob("*.py"))}
    return {IMPORT_NAMES.get(name, name) for name in names - ours - set(sys.stdlib_module_names)}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


@pytest.fixture(scope="module")
def project(bundle_root: Path) -> dict:
    if tomllib is None:
        pytest.skip("reading pyproject.toml needs tomllib (Python 3.11)")
    return tomllib.loads((bundle_root / "pyproject.toml").read_text())["project"]


def test_the_package_imports_only_what_it_asks_for(bundle_root: Path, project: dict) -> None:
    assert imported(bundle_root / "bundle") - names(project["dependencies"]) == set()


@pytest.mark.parametrize("folder", ["tests", "scripts"])
def test_tests_and_scripts_import_only_what_they_ask_for(bundle_root: Path, project: dict, folder: str) -> None:
    wanted = names(project["dependencies"]) | names(project["optional-dependencies"]["test"])
    if folder == "scripts":
        wanted |= names(project["optional-dependencies"]["benchmark"])
    assert imported(bundle_root / folder) - wanted == set()


def test_every_requirement_is_pinned(bundle_root: Path, project: dict) -> None:
    lines = [line for line in (bundle_root / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all("==" in line for line in lines)
    wanted = names(project["dependencies"]) | names(project["optional-dependencies"]["test"])
    assert wanted - names(lines) == set()
