"""Whoever reads a config, and from whichever directory, finds the package and what ships with it."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import BundleCommand


def test_the_network_is_verified_from_another_directory(bundle_root: Path, bundle_command: BundleCommand) -> None:
    configs = bundle_root / "configs"
    words = ("network_def", "--config_file", configs / "inference.json", "--meta_file", configs / "metadata.json")
    out = bundle_command("verify_net_in_out", *words, "--device", "cpu").stdout
    assert "verified with no error" in out
