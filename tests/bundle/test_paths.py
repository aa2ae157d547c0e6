"""A workflow finds its own package from anywhere, with nothing installed, whoever reads the config."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import BundleCommand

READ_LIKE_MONAI_LABEL = """
from monai.bundle import ConfigParser
parser = ConfigParser()
parser.read_config({config!r})
parser.config.update({{"bundle_root": {root!r}}})
print("built", parser.get_parsed_content("component", instantiate=True))
print("once", [entry.endswith("bundle") for entry in __import__("sys").path].count(True))
"""


@pytest.fixture
def small_bundle(bundle_root: Path, tmp_path: Path) -> Path:
    """A bundle in a folder with blanks in its name: the shipped preamble, and one component of the package."""
    root = tmp_path / "my bundles" / "copy of frerec"
    (root / "configs").mkdir(parents=True)
    (root / "bundle" / "frerec").mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "text.py"):
        shutil.copy(bundle_root / "bundle" / "frerec" / name, root / "bundle" / "frerec" / name)
    shipped = json.loads((bundle_root / "configs" / "inference.json").read_text())
    config = {key: shipped[key] for key in ("imports", "bundle_root", "package_path")} | {
        "component": {
            "_target_": "frerec.errors.InputError",
            "_requires_": "@package_path",
            "path": "$os.path.join(@bundle_root, 'models')",
            "reason": "built",
            "remedy": "none",
        },
        "initialize": ["@package_path"],
        "run": ["$print('built', @component, 'from', sys.modules['frerec'].__file__)"],
    }
    (root / "configs" / "small.json").write_text(json.dumps(config))
    return root


def test_several_files_from_another_folder(small_bundle: Path, bundle_command: BundleCommand, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    mine = tmp_path / "mine" / "overrides.json"
    mine.write_text(json.dumps({"component#remedy": "overridden"}))
    out = bundle_command("run", "--config_file", str([str(small_bundle / "configs" / "small.json"), str(mine)])).stdout
    assert f"built {small_bundle}/models: built. overridden. from {small_bundle}/bundle/frerec/__init__.py" in out


def test_a_config_read_by_an_application(small_bundle: Path, bundle_command: BundleCommand, tmp_path: Path) -> None:
    # MONAI Label sets bundle_root and asks for single components; it never runs `initialize`.
    script = tmp_path / "application.py"
    config = str(small_bundle / "configs" / "small.json")
    script.write_text(READ_LIKE_MONAI_LABEL.format(config=config, root=str(small_bundle)))
    out = bundle_command(module="application", cwd=tmp_path).stdout
    assert f"built {small_bundle}/models: built. none." in out
    assert "once 1" in out


def test_the_network_is_verified_from_another_directory(bundle_root: Path, bundle_command: BundleCommand) -> None:
    configs = bundle_root / "configs"
    words = ("network_def", "--config_file", configs / "inference.json", "--meta_file", configs / "metadata.json")
    out = bundle_command("verify_net_in_out", *words, "--device", "cpu").stdout
    assert "verified with no error" in out
