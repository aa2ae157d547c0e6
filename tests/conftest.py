"""What every test may use: the test data folder, workflows run as a user runs them, strict DICOM values."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom.config
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Give each parallel worker one thread: several threads in each only get in each other's way."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def strict_dicom_values() -> Iterator[None]:
    """Refuse to write a DICOM value that its value representation does not allow, in all tests."""
    before = pydicom.config.settings.writing_validation_mode
    pydicom.config.settings.writing_validation_mode = pydicom.config.RAISE
    yield
    pydicom.config.settings.writing_validation_mode = before


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The test data folder: $FREREC_SHARED_DATA, or shared/data beside the checkout."""
    folder = Path(os.environ.get("FREREC_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set FREREC_SHARED_DATA to a folder with chest_xray/, dicom/, ...")
    return folder


@pytest.fixture(scope="session")
def bundle_root() -> Path:
    """The root of the bundle under test."""
    return ROOT


BundleCommand = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def bundle_command(tmp_path_factory: pytest.TempPathFactory) -> BundleCommand:
    """Run ``python -m monai.bundle ...`` from a foreign directory, the package found by PYTHONPATH.

    Call it with the words of the command line (``"run", "--config_file", path, ...``); keyword ``cwd`` chooses the
    directory, ``check=False`` lets a failing command return, ``module`` runs another module. Output and errors come
    back together in ``stdout``.
    """
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(
        *words: object, cwd: Path = elsewhere, check: bool = True, module: str = "monai.bundle"
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, words)],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": str(ROOT / "bundle")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout[-6000:]}")
        return done

    return run
