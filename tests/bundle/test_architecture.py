"""The rules of the house that a machine can check (docs/explanation/architecture.md)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bundle" / "frerec"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])

# Which other rooms each room may import. What is not listed here is not allowed.
MAY_IMPORT = {
    "spectrum": set(),
    "io": set(),
    "report": set(),
    "shr": {"spectrum", "io"},
    "rhm": {"spectrum", "io"},
    "generation": {"spectrum", "io", "shr", "rhm"},
    "run": {"spectrum", "io", "shr", "rhm"},
    "audit": {"spectrum", "io", "shr", "rhm", "report"},
    "study": {"spectrum", "io", "shr", "rhm", "report", "audit"},
    "tune": {"spectrum", "report", "audit", "study"},
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def rooms_imported(path: Path) -> set[str]:
    """The rooms of the package that a file imports, by absolute or relative import."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = path.relative_to(PACKAGE.parent).parts[: -node.level] if node.level else ()
            base = ".".join([*parents, *([node.module] if node.module else [])])
            modules = [base, *(f"{base}.{alias.name}" for alias in node.names)] if base == "frerec" else [base]
        else:
            continue
        rooms |= {parts[1] for parts in (module.split(".") for module in modules) if parts[0] == "frerec" and parts[1:]}
    return rooms & MAY_IMPORT.keys()


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_run_downwards(room: str) -> None:
    above = {name(path): rooms_imported(path) - {room} - MAY_IMPORT[room] for path in (PACKAGE / room).rglob("*.py")}
    assert {file: rooms for file, rooms in above.items() if rooms} == {}


def test_nothing_imports_the_scripts() -> None:
    importing = re.compile(r"^\s*(from|import) scripts\b", re.M)
    assert [name(path) for path in PACKAGE.rglob("*.py") if importing.search(path.read_text())] == []


def test_every_room_has_its_rule() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == MAY_IMPORT.keys()


def test_a_file_is_read_in_one_sitting() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {file: lines for file, lines in lengths.items() if lines > 300} == {}


def test_nothing_is_left_half_done() -> None:
    marks = re.compile(r"\b(?:TODO|FIXME|XXX)\b|\braise NotImplementedError\b")
    assert [name(path) for path in SOURCES if marks.search(path.read_text())] == []


def test_every_page_is_in_its_index() -> None:
    for index in (ROOT / "docs").glob("*/README.md"):
        linked = set(re.findall(r"\]\(([\w.-]+\.md)\)", index.read_text()))
        pages = {path.name for path in index.parent.glob("*.md")} - {"README.md"}
        assert pages - linked == set(), f"{index.relative_to(ROOT)} does not link these"
    promises = (ROOT / "tests" / "promises" / "README.md").read_text()
    files = {path.name for path in (ROOT / "tests" / "promises").glob("test_*.py")}
    assert files - set(re.findall(r"`(test_\w+\.py)`", promises)) == set(), "not listed in tests/promises"
