"""Words of the command line that do not do what they say: misspelt ids, stray words, two values for one setting."""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue

from frerec.errors import ConfigError, FreRecError
from frerec.root import bundle_root

# What `python -m monai.bundle run` takes for itself.
_OWN = {
    "run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file",
    "workflow_name", "workflow_type", "properties_path",
}  # fmt: skip
_WHERE = "Its ids are in docs/reference/config_ids.md, and frerec <command> --help lists them"
_SEPARATOR = re.compile(r"#|::")


def wrong_words(argv: Sequence[str]) -> list[FreRecError]:
    """Find words that MONAI takes without complaint although they do not do what they say.

    These are overrides whose id no given config has, at any depth (they change nothing); words that belong to no id;
    and an id that is given together with another one that stands for it. Overrides in a file given with ``--args_file``
    are looked at like those on the command line.

    Args:
        argv: the command line. Only that of ``python -m monai.bundle run`` with ``--config_file`` is looked at.

    Returns:
        One error per word.
    """
    overrides, stray = _given(argv)
    configs = [_load(name) for name in _config_files(overrides.get("config_file"))]
    if not any(configs):
        return []
    if "tracking" in overrides:
        configs.append(_tracking_ids(overrides["tracking"]))
    keys = [key for config in configs for key in config]
    known = {_SEPARATOR.split(key)[0].lstrip("+") for key in keys}
    problems: list[FreRecError] = [
        ConfigError("run_id", word, "no id stands before it", "Put a value that holds spaces into quotes")
        for word in stray
        if word not in known
    ]
    for name, value in overrides.items():
        # an overlay may add what lies below an id of another file
        if name in _OWN or any(name.startswith(key) for key in keys if _SEPARATOR.search(key)):
            continue
        first = _SEPARATOR.split(name)[0]
        if first not in known:
            problems.append(_unknown(name, value, first, known))
            continue
        misspelt = [_misspelt(config, name, value) for config in configs if first in config]
        problems += [problem for problem in misspelt[:1] if problem is not None and None not in misspelt]
    return problems + _contradiction(overrides, configs)


def other_bundle(argv: Sequence[str]) -> Path | None:
    """The bundle around the config file, where that is not the one whose bank and weights are taken.

    Args:
        argv: the command line, as in :func:`wrong_words`.

    Returns:
        Its root; None where it is this one, has no models, or ``--bundle_root`` says which one is meant.
    """
    overrides, _stray = _given(argv)
    files = _config_files(overrides.get("config_file"))
    if not files or "bundle_root" in overrides:
        return None
    root = Path(files[0]).resolve().parent.parent
    return root if (root / "models").is_dir() and root != Path(bundle_root()).resolve() else None


def _given(argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Overrides of ``python -m monai.bundle run``, and words that belong to none; empty for any other command."""
    if len(argv) < 2 or Path(argv[0]).parent.name != "bundle" or argv[1] != "run":
        return {}, []
    given, stray = as_fire_reads(argv[2:])
    return {**(_load(given["args_file"]) if "args_file" in given else {}), **given}, stray


def as_fire_reads(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Part the words of a command line as Python Fire, which reads it for MONAI, does.

    Args:
        words: what stands after ``run``.

    Returns:
        Values by id, and the words that belong to no id.
    """
    overrides: dict[str, Any] = {}
    stray: list[str] = []
    position = 0
    while position < len(words):
        word, after = words[position], (words[position + 1 : position + 2] or ["--"])[0]
        position += 1
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if not _is_flag(word):
            stray.append(word)
        elif equals:
            overrides[name] = value
        elif not _is_flag(after):
            overrides[name] = after
            position += 1
        elif word.startswith("--no"):
            # Fire's way to say False
            overrides[name[2:]] = "False"
        elif word.startswith("--"):
            overrides[name] = "True"
        # a single hyphen is mostly that of a folder's name, and the id before it then has no value: see values.py
    return overrides, stray


def _is_flag(word: str) -> bool:
    return word.startswith("--") or re.match(r"-[a-zA-Z]", word) is not None


def _unknown(name: str, value: Any, wrong: str, known: Collection[str]) -> ConfigError:
    close = difflib.get_close_matches(wrong, known, n=1)
    remedy = f"Did you mean {name.replace(wrong, close[0])}" if close else _WHERE
    return ConfigError(name, value, "the config has no such id", remedy)


def _misspelt(config: Any, name: str, value: Any) -> ConfigError | None:
    """The error for a nested id of which a part does not exist."""
    for part in _SEPARATOR.split(name):
        if isinstance(config, list) and part.isdigit() and int(part) < len(config):
            config = config[int(part)]
        elif isinstance(config, dict) and part in config:
            config = config[part]
        elif isinstance(config, dict) and (part.startswith("_") or part in (names := _arguments(config))):
            return None
        elif isinstance(config, dict):
            return _unknown(name, value, part, {*config, *names})
        else:
            # what stands here is given by an expression or another id
            return _unknown(name, value, part, ()) if isinstance(config, list) else None
    return None


def _arguments(config: dict[str, Any]) -> Collection[str]:
    """Names of the arguments a component takes beside those its config gives; everything if it takes any name."""
    target = config.get("_target_")
    # MONAI is loaded only where it is needed, so that a misspelt command is answered at once
    locate = importlib.import_module("monai.utils.module").locate
    component = locate(target) if isinstance(target, str) and "." in target else None
    if not callable(component):
        return _Everything() if target else ()
    try:
        parameters = inspect.signature(component).parameters
    except (TypeError, ValueError):
        return _Everything()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return _Everything() if takes_any else parameters.keys()


class _Everything(frozenset[str]):
    def __contains__(self, _name: object) -> bool:
        return True


def _contradiction(overrides: dict[str, Any], configs: Sequence[dict[str, Any]]) -> list[FreRecError]:
    """Ids that are given both by themselves and as one that stands for them among ``displayable_configs``."""
    problems: list[FreRecError] = []
    for name, value in overrides.items():
        first, *rest = _SEPARATOR.split(name)
        if first != "displayable_configs" or len(rest) != 1 or str(overrides.get(rest[0], value)) == str(value):
            continue
        if any(config.get(first, {}).get(rest[0]) == f"@{rest[0]}" for config in configs):
            reason = f"{rest[0]}={overrides[rest[0]]} is given as well, and the two are one setting"
            problems.append(ConfigError(name, value, reason, "Give one of them"))
    return problems


def _config_files(value: Any) -> list[str]:
    """Names of the config files: one, or a list as Fire reads it; no character of a name means anything else."""
    found = DefaultParseValue(value) if isinstance(value, str) else value
    if isinstance(found, list | tuple):
        return [str(name) for name in found]
    return [str(value)] if value else []


def _tracking_ids(given: Any) -> dict[str, Any]:
    """What MONAI's experiment tracking adds to a config: settings it has by that name, of a file, or as given."""
    if isinstance(given, str):
        known = importlib.import_module("monai.bundle.utils").DEFAULT_EXP_MGMT_SETTINGS
        given = known[given] if given in known else _load(given)
    ids = given.get("configs") if isinstance(given, dict) else None
    return ids if isinstance(ids, dict) else {}


def _load(name: str) -> dict[str, Any]:
    """A config as MONAI reads it; empty where it cannot be read, which MONAI tells."""
    try:
        if name.endswith(".json"):
            config = json.loads(Path(name).read_text(encoding="utf-8"))
        else:
            config = importlib.import_module("monai.bundle").ConfigParser.load_config_file(name)
    except Exception:
        return {}
    return config if isinstance(config, dict) else {}
