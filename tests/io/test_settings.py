from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from monai.transforms import Compose

import frerec
from frerec.io.provenance import RunSettings, run_settings


def test_files_enter_by_content_not_by_place(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pt", tmp_path / "sub" / "b.pt"
    second.parent.mkdir()
    for path in (first, second):
        path.write_bytes(b"weights")
    settings = run_settings({"weights": str(first), "bank": None}, strength=0.5)
    assert settings == {
        "frerec_version": frerec.__version__,
        "strength": 0.5,
        "weights_sha256": hashlib.sha256(b"weights").hexdigest(),
        "bank_sha256": None,
    }
    assert run_settings({"weights": str(second), "bank": None}, strength=0.5) == settings


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"old")
    before = run_settings({"weights": str(path)})
    path.write_bytes(b"newer")
    assert run_settings({"weights": str(path)}) != before


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        run_settings({"weights": str(tmp_path / "absent.pt")})


def test_fingerprint_depends_on_values_not_on_order() -> None:
    assert RunSettings(a=1, b=[1, None]).fingerprint == RunSettings(b=[1, None], a=1).fingerprint
    assert RunSettings(a=1).fingerprint != RunSettings(a=2).fingerprint
    assert len(RunSettings().fingerprint) == 16


class Applied:
    def __init__(self, **values: object) -> None:
        self.values = values

    def settings(self) -> dict[str, object]:
        return self.values


def test_what_a_component_says_of_itself_counts() -> None:
    composed = Compose([lambda x: x, Applied(strength=0.7, bands=None)])
    settings = run_settings(reported_by=[composed, Applied(impose_profile=True)], strength=0, seed=3)
    expected = {"frerec_version": frerec.__version__, "strength": 0.7, "bands": None, "impose_profile": True, "seed": 3}
    assert settings == expected
    assert run_settings(reported_by=[Compose([])], strength=0)["strength"] == 0
