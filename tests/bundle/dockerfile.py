"""What the Dockerfile says, for the tests that hold it to it."""

from __future__ import annotations

import re
from pathlib import Path


def instructions(root: Path) -> list[tuple[str, str]]:
    """Name and words of each instruction, in order."""
    text = re.sub(r"\\\n\s*", "", (root / "Dockerfile").read_text())
    lines = [line.strip() for line in text.splitlines()]
    parts = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return [(name, words.strip()) for name, _space, words in parts]


def copied(root: Path) -> list[str]:
    """Files and folders that are copied from the checkout, relative to it."""
    given = [words.split() for name, words in instructions(root) if name == "COPY" and "--from" not in words]
    return [source for words in given for source in words[:-1]]
