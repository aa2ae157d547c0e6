"""Every workflow in configs/ keeps the rules that let it run from any directory and be understood."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

import frerec
from frerec.run.preflight import PreflightError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "configs").glob("*.json"))}
WORKFLOWS = sorted(name for name, config in CONFIGS.items() if "bundle_root" in config)
#: What is laid over another config, and over which.
OVERLAYS = {
    "multi_gpu_train": "train", "train_adversarial": "train", "train_paper": "train", "inference_trt": "inference",
}  # fmt: skip
PAGE = ROOT / "docs" / "reference" / "config_ids.md"

# The ids a user may override, named the same in every config (docs/reference/config_ids.md).
SHARED_IDS = {
    "bundle_root", "dataset_dir", "real_dir", "synthetic_dir", "datalist", "output_dir", "bank_path", "weights_path",
    "device", "seed", "batch_size", "num_workers", "amp", "overwrite", "mask_ratio", "top_k", "bands", "strength",
    "preset", "spatial_dims", "channels", "max_epochs",
}  # fmt: skip


def strings(value: Any) -> Iterator[str]:
    """Every string in a config, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def is_plain(value: Any) -> bool:
    """Whether an id holds a value a user would set: a literal, or a list of literals."""
    if isinstance(value, list):
        return all(is_plain(item) for item in value)
    return not isinstance(value, dict) and not (isinstance(value, str) and value.startswith(("$", "@", "%")))


def overridable(config: dict[str, Any]) -> set[str]:
    """The top-level ids of a config that its reader may set."""
    known = {key for key in config if key in SHARED_IDS or key.endswith(("_dir", "_path"))}
    return (known | {key for key, value in config.items() if is_plain(value)}) - {"imports"}


def documented(name: str) -> set[str]:
    """The ids in the table under the heading of a config."""
    section = re.search(rf"^## `{name}\.json`$(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    return set(re.findall(r"^\| `(\w+)` \|", section.group(1), re.M)) if section else set()


def test_the_workflows_of_the_bundle_are_there() -> None:
    assert {"train", "inference", "evaluate", "build_bank", "generate", "study", "tune"} <= set(WORKFLOWS)
    assert {"train_generator", "train_diffusion"} <= set(WORKFLOWS)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_workflow_prepares_its_process_and_then_checks_its_settings(name: str) -> None:
    # programs that only load a network resolve `initialize` with nothing set
    assert CONFIGS[name]["initialize"] == [{"_target_": "frerec.run.process.prepare_process"}]
    assert CONFIGS[name]["run"][0] == "@preflight"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_config_is_read_in_one_sitting(name: str) -> None:
    size = (ROOT / "configs" / f"{name}.json").stat().st_size
    assert size <= (6_000 if name == "inference" else 9_000)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_no_path_of_one_machine(name: str) -> None:
    somewhere = re.compile(r"(^|(?<!@bundle_root \+ )['\"])(/[\w.]|[A-Za-z]:\\\\|~)")
    assert [text for text in strings(CONFIGS[name]) if somewhere.search(text)] == []
    # A macro names a file relative to the directory the user happens to be in.
    assert not [text for text in strings(CONFIGS[name]) if text.startswith("%") and ".json" in text]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_overridable_id_is_documented(name: str) -> None:
    wanted, found = overridable(CONFIGS[name]), documented(name)
    assert wanted - found == set(), f"document these in {PAGE.name}, section {name}.json"
    assert found - CONFIGS[name].keys() == set(), f"{PAGE.name} describes ids that {name}.json does not have"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_documented_defaults_are_the_real_ones(name: str) -> None:
    section = re.search(rf"^## `{name}\.json`$(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    assert section is not None
    told = dict(re.findall(r"^\| `(\w+)` \| `?(.*?)`? \|", section.group(1), re.M))
    numbers = {key: value for key, value in CONFIGS[name].items() if isinstance(value, int | float | bool)}
    assert {key: told.get(key) for key in numbers} == {key: json.dumps(value) for key, value in numbers.items()}


def test_overlays_are_told_by_having_no_root() -> None:
    assert CONFIGS.keys() - set(WORKFLOWS) - {"metadata"} == OVERLAYS.keys()


@pytest.mark.parametrize("name", sorted(OVERLAYS))
def test_an_overlay_changes_what_is_there_and_its_own_ids_are_documented(name: str, bundle_root: Path) -> None:
    overlay, base = CONFIGS[name], CONFIGS[OVERLAYS[name]]
    parser = ConfigParser()
    parser.read_config([str(bundle_root / "configs" / f"{file}.json") for file in (OVERLAYS[name], name)])
    for key in (key.removeprefix("+") for key in overlay):
        if "#" in key:  # a part of what lies beneath: MONAI adds silently what is not there, so its parent has to be
            parent: Any = base
            for part in key.split("#")[:-1]:
                parent = parent[int(part)] if isinstance(parent, list) else parent[part]
    own = {key for key in overlay if "#" not in key and not key.startswith("+")} - base.keys()
    used = {match for text in strings(parser.get()) for match in re.findall(r"@(\w+)", text)}
    assert own - used - {"finalize"} == set(), "an id that nothing refers to"
    # plain ids are a user's: described beside the config they change, with their value, and checked
    section = re.search(rf"^## `{OVERLAYS[name]}\.json`$(.*?)^\|", PAGE.read_text(), re.M | re.S)
    assert section is not None and f"`{name}.json`" in section.group(1)
    for key in own & overridable(overlay):
        assert f"`{key}` (`{overlay[key]}`" in section.group(1)
        assert overlay[f"preflight#{key}"] == f"@{key}"


def targets(value: Any) -> Iterator[str]:
    """Every dotted `_target_` of a config."""
    if isinstance(value, dict):
        if "." in str(value.get("_target_", "")):
            yield value["_target_"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from targets(item)


def located(path: str) -> Any:
    """What a dotted path names to pydoc.locate of Python 3.12 and later: as much of it as can be is a module."""
    parts = path.split(".")
    found, count = importlib.import_module(parts[0]), 1
    while count < len(parts) and importlib.util.find_spec(".".join(parts[: count + 1])) is not None:
        found, count = importlib.import_module(".".join(parts[: count + 1])), count + 1
        if not hasattr(found, "__path__"):
            break
    for part in parts[count:]:
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_target_is_a_function_or_class_on_every_python(name: str) -> None:
    found = {path: located(path) for path in targets(CONFIGS[name])}
    assert {path for path, thing in found.items() if inspect.ismodule(thing) or not callable(thing)} == set()


def test_no_name_of_the_package_is_both_a_module_and_something_in_it() -> None:
    # Python 3.12 and later would take the module where a config means the other, and do nothing without a word.
    both = []
    for package in ("frerec", *(m.name for m in pkgutil.walk_packages(frerec.__path__, "frerec.") if m.ispkg)):
        folder = importlib.import_module(package)
        names = {module.name for module in pkgutil.iter_modules(folder.__path__)}
        both += [f"{package}.{n}" for n in names if not inspect.ismodule(getattr(folder, n, inspect))]
    assert both == []


#: Ids that no wrong value can be given to, or whose values only the component knows.
UNCHECKED = {"bundle_root", "arms", "bank_path", "licence", "provenance", "rare_class", "fill"}


def checked_by(name: str) -> dict[str, Any]:
    """What the preflight of a workflow is told, by id."""
    config, told = CONFIGS[name], CONFIGS[name]["preflight"]
    return told | (config["settings"] if told.get("settings") == "@settings" else {})


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_setting_goes_through_the_preflight(name: str) -> None:
    step = checked_by(name)
    checked = {value: CONFIGS[name].get(key) for key, value in step.items() if isinstance(value, str)}
    aliases = {str(value).removeprefix("@") for value in checked.values()}
    assert overridable(CONFIGS[name]) - step.keys() - aliases - UNCHECKED == set()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_mistakes_are_told_by_id_whatever_the_workflow(
    name: str, bundle_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle_root / "configs" / f"{name}.json"))
    step = checked_by(name)
    # what Python Fire makes of `--output_dir 2024`, `--seed x`, `--channels`, `--datalist a,b`, `--real_dir`, ...
    mistakes = {
        "output_dir": 2024, "seed": "x", "channels": True, "datalist": ("a", "b"), "real_dir": True, "batch_size": None,
        "dataset_dir": str(tmp_path / "gone"), "overwrite": "true", "image_size": "64x64", "learning_rate": 0,
        "bank_path": False, "device": "gpu", "mask_ratio": 7,
    }  # fmt: skip
    made = {key: value for key, value in mistakes.items() if key in step and key in CONFIGS[name]}
    assert len(made) >= 4
    parser.update(made)
    with pytest.raises(PreflightError) as ended:
        parser.get_parsed_content("run#0")
    told = {getattr(problem, "config_id", "") for problem in ended.value.problems}
    assert made.keys() - told == set()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{name} cannot start: {len(ended.value.problems)} problems"
    assert len(lines) == 1 + len(ended.value.problems)


def test_recalibration_means_the_same_in_inference_and_study() -> None:
    ids = CONFIGS["study"]["recalibration"].keys() - {"_target_", "device"}
    assert {"strength", "mask_ratio", "transition", "top_k", "bands", "method", "impose_profile"} <= ids
    inference, study = ({key: CONFIGS[name][key] for key in ids} for name in ("inference", "study"))
    assert inference == study
    shared = CONFIGS["tune"]["recalibration"].keys() - {"device"}
    inference, tune = ({key: CONFIGS[name][key] for key in shared} for name in ("inference", "tune"))
    assert inference == tune


@pytest.mark.parametrize("name", WORKFLOWS)
def test_overridable_ids_come_first(name: str) -> None:
    keys = [key for key in CONFIGS[name] if key != "imports"]
    ids = overridable(CONFIGS[name])
    last = max(keys.index(key) for key in ids)
    components = [key for key in keys[:last] if isinstance(CONFIGS[name][key], dict)]
    assert components == [], f"{keys[last]} comes after a component"
