"""The command ``frerec``: each workflow of ``configs/`` is a sub-command, handed to MONAI's own runner.

``frerec inference --dataset_dir x`` is ``python -m monai.bundle run --config_file <bundle>/configs/inference.json
--dataset_dir x``, with the same output and exit codes. What the user asks to read, and what cannot be meant, is
answered here at once, before the libraries are loaded.
"""

from __future__ import annotations

import difflib
import json
import re
import runpy
import shutil
import signal
import sys
import textwrap
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

from fire.parser import DefaultParseValue

from frerec import __version__, bundle_root
from frerec.errors import EXIT_PREFLIGHT, ConfigError, FreRecError, InputError
from frerec.run.command_line import as_fire_reads, wrong_words

_ASIDE = re.compile(r"\s*\(\[[^\]]+\]\([^)]+\)\)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", re.M)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv: the words after ``frerec``; those of this process if None.

    Raises:
        SystemExit: the command was not run, with code 3 after one line on the standard error for each reason; or the
            workflow ended with a code other than 0.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("help", "-h", "--help"):
        _show(_overview())
        return
    if words[0] == "--version":
        print(f"frerec {__version__}")
        return
    try:
        command = _named("command", words[0], _workflows())
        if {"-h", "--help"}.intersection(words[1:]):
            _show(_ids(command))
            return
        files, overrides = _parted(command, words[1:])
    except FreRecError as error:
        _refuse(words[0], [error])
    call = ["run", "--config_file", repr(files)]
    if problems := wrong_words([str(Path("monai", "bundle", "__main__.py")), *call, *overrides]):
        _refuse(command, problems)
    sys.argv = ["monai.bundle", *call, *_keep_paths(overrides)]
    if set(files) <= set(map(str, _configs().values())):
        # MONAI warns of configs that one does not trust; these came with the package
        warnings.filterwarnings("ignore", "parsing config_file")
    # in this process, as `python -m` would: signals, exit codes and the children of data loaders are the same
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)


def _show(text: str) -> None:
    # whoever reads may stop before the end: `frerec inference --help | head`
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    print(text)


def _refuse(command: str, problems: Sequence[FreRecError]) -> None:
    print(*(f"frerec {command}: {problem}" for problem in problems), sep="\n", file=sys.stderr)
    raise SystemExit(EXIT_PREFLIGHT)


def _parted(command: str, words: list[str]) -> tuple[list[str], list[str]]:
    """The config files that the words after the command ask for, and the overrides."""
    count = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    given, _stray = as_fire_reads(words[count:])
    if "config_file" in given:
        remedy = "Write further config files directly after the command"
        raise ConfigError("config_file", given["config_file"], "the command has its own", remedy)
    return [str(_configs()[command]), *map(_overlay, words[:count])], words[count:]


def _overlay(word: str) -> str:
    """A config to lay over the command's: a file of the user's, or one that ships, by its name."""
    if not word.endswith(".json"):
        return str(_configs()[_named("overlay", word, _configs().keys() - _workflows())])
    path = Path(word).absolute()
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(word, error.strerror or "cannot be read", "Check the path") from error
    except ValueError as error:
        raise InputError(word, f"not JSON ({error})", "Mend it there") from error
    return str(path)


def _keep_paths(words: list[str]) -> list[str]:
    """Quote paths that Fire would take for a number or a list, such as ``--dataset_dir 2024``."""
    given, _stray = as_fire_reads(words)
    kept = list(words)
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        follows = not equals and index + 1 < len(words) and name.startswith("--")
        text = words[index + 1] if follows else value
        key = name.lstrip("-").replace("-", "_")
        if given.get(key) != text or not key.endswith(("_dir", "_path", "datalist")):
            continue
        if text != "None" and not isinstance(DefaultParseValue(text), str):
            kept[index + follows] = repr(text) if follows else f"{name}={text!r}"
    return kept


def _configs() -> dict[str, Path]:
    """The configs that ship, by command name."""
    files = sorted(Path(bundle_root(), "configs").glob("*.json"))
    return {path.stem.replace("_", "-"): path for path in files if path.stem != "metadata"}


def _workflows() -> set[str]:
    """Names of those that run by themselves; the others are laid over one of them."""
    return {name for name, path in _configs().items() if "bundle_root" in json.loads(path.read_text(encoding="utf-8"))}


def _named(kind: str, word: str, names: Collection[str]) -> str:
    name = word.replace("_", "-")
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    remedy = f"Did you mean {close[0]}" if close else f"There are {', '.join(sorted(names))}"
    if kind == "overlay":
        remedy += "; files of your own end in .json, and values follow an --id"
    raise ConfigError(kind, word, f"there is no such {kind}", remedy)


def _section(name: str) -> str:
    """What the reference of config ids says of a config."""
    text = Path(bundle_root(), "docs", "reference", "config_ids.md").read_text(encoding="utf-8")
    found = re.search(rf"^## `{_configs()[name].name}`$\s+(.*?)(?=^## |\Z)", text, re.M | re.S)
    return found[1] if found else ""


def _plain(markdown: str) -> str:
    return " ".join(_LINK.sub(r"\1", _ASIDE.sub("", markdown)).replace("`", "").split())


def _filled(text: str, indent: int) -> str:
    width = min(shutil.get_terminal_size().columns, 120)
    return textwrap.fill(text, width, initial_indent=" " * indent, subsequent_indent=" " * indent)


def _overview() -> str:
    workflows = _workflows()
    lines = ["usage: frerec <command> [<overlay> ...] [--<id> <value> ...]", ""]
    lines += ["Frequency recalibration of generated medical images.", "", "commands:"]
    for name in sorted(workflows):
        told = _plain(_section(name).partition("\n\n")[0]).partition(". ")[0].rstrip(".")
        lines.append(f"  {name:<17}{told}")
    lines += ["", "overlays:", *(f"  {name}" for name in sorted(_configs().keys() - workflows)), ""]
    lines.append(_filled(
        "`frerec <command> --help` lists what can be set. An overlay, one of these or a .json file of yours, replaces "
        "parts of the command's config. `frerec --version` tells the release. Configs and models: " + bundle_root(), 0
    ))  # fmt: skip
    return "\n".join(lines)


def _ids(name: str) -> str:
    about, _blank, table = _section(name).partition("\n\n")
    lines = [f"usage: frerec {name} [<overlay> ...] [--<id> <value> ...]", "", _filled(_plain(about), 0), ""]
    for key, default, meaning in _ROW.findall(table):
        lines += [f"  --{key} ({_plain(default)})", _filled(_plain(meaning), 6)]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
