"""metadata.json says what the MONAI bundle specification asks for, and says it truly."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from monai.bundle import verify_metadata, verify_net_in_out

import frerec

SCHEMA = Path(__file__).with_name("metadata_schema.json")


@pytest.fixture
def metadata(bundle_root: Path) -> dict:
    return json.loads((bundle_root / "configs" / "metadata.json").read_text())


def test_verify_metadata_passes_offline(bundle_root: Path) -> None:
    # MONAI downloads the schema only where the file is missing, so this also works without a network.
    verify_metadata(meta_file=str(bundle_root / "configs" / "metadata.json"), filepath=str(SCHEMA))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", "one"),
        ("task", ""),
        ("monai_version", 1.6),
        ("network_data_format", {"inputs": {}, "outputs": {}}),
        ("changelog", {}),
    ],
)
def test_the_schema_refuses_wrong_metadata(metadata: dict, tmp_path: Path, key: str, value: object) -> None:
    metadata[key] = value
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=str(path), filepath=str(SCHEMA))


def test_one_version_everywhere(bundle_root: Path, metadata: dict) -> None:
    assert metadata["version"] == frerec.__version__
    assert next(iter(metadata["changelog"])) == frerec.__version__
    newest = re.search(r"^## (\S+)", (bundle_root / "CHANGELOG.md").read_text(), re.M)
    assert newest is not None and newest.group(1) == frerec.__version__


def test_versions_are_the_tested_ones(bundle_root: Path, metadata: dict) -> None:
    constraints = (bundle_root / "constraints.txt").read_text()
    # of two pins the second one is that of Python 3.10, with which the zoo checks, and runs on later ones too
    pins = dict(re.findall(r"^([\w-]+)==([\w.]+)", constraints, re.M))
    stated = metadata["required_packages_version"] | {
        "monai": metadata["monai_version"],
        "torch": metadata["pytorch_version"],
        "numpy": metadata["numpy_version"],
    }
    assert stated == {name: pins[name] for name in stated}


def test_every_package_that_is_needed_is_stated(bundle_root: Path, metadata: dict) -> None:
    asked = re.search(r"^dependencies = \[(.*?)^\]", (bundle_root / "pyproject.toml").read_text(), re.M | re.S)
    assert asked is not None
    wanted = set(re.findall(r'^ *"([\w-]+)', asked.group(1), re.M)) - {"monai", "torch", "numpy"}
    # the last is for verify_metadata, which a model zoo runs
    assert metadata["required_packages_version"].keys() == wanted | {"jsonschema"}


def test_network_takes_and_returns_what_is_stated(bundle_root: Path) -> None:
    configs = bundle_root / "configs"
    verify_net_in_out(
        net_id="network_def",
        config_file=str(configs / "inference.json"),
        meta_file=str(configs / "metadata.json"),
        bundle_root=str(bundle_root),
        device="cpu",
    )
