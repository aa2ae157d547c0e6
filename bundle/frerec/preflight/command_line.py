"""Overrides on the command line that override nothing because their id is misspelt."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from frerec.errors import ConfigError, FreRecError

# What `python -m monai.bundle run` takes for itself.
_OWN = {
    "run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file",
    "workflow_name", "workflow_type", "properties_path",
}  # fmt: skip
_JSON_FILE = re.compile(r"[^'\"\[\],=\n]+[.]json")


def unknown_ids(argv: Sequence[str]) -> list[FreRecError]:
    """Find overrides whose id no given config has; MONAI takes them without a word, and they change nothing.

    Args:
        argv: the command line. Only that of ``python -m monai.bundle`` with ``--config_file`` is looked at.

    Returns:
        One error per unknown id, with the most similar one as remedy.
    """
    if not argv or Path(argv[0]).parent.name != "bundle":
        return []
    known: set[str] = set()
    given: list[tuple[str, str]] = []
    for i, word in enumerate(argv[1:], 1):
        if not word.startswith("--"):
            continue
        name, _, value = word[2:].partition("=")
        value = value or (argv[i + 1] if i + 1 < len(argv) and not argv[i + 1].startswith("--") else "")
        if name == "config_file":
            for path in _JSON_FILE.findall(value):
                known |= _ids(Path(path.strip()))
        elif name == "args_file":
            return []
        given.append((re.split(r"#|::", name)[0], value))
    if not known:
        return []
    problems: list[FreRecError] = []
    for name, value in given:
        if name not in known and name not in _OWN:
            close = difflib.get_close_matches(name, known, n=1)
            remedy = f"Did you mean {close[0]}" if close else "Its ids are in docs/reference/config_ids.md"
            problems.append(ConfigError(name, value, "the config has no such id", remedy))
    return problems


def _ids(path: Path) -> set[str]:
    try:
        return set(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return set()
