"""Freed memory is kept by the workflows alone, saves page faults, can be switched off and changes no result."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from frerec.run.process import SWITCH
from tests.conftest import BundleCommand

ROOT = Path(__file__).resolve().parents[2]
GLIBC = platform.libc_ver()[0] == "glibc"
needs_glibc = pytest.mark.skipif(not GLIBC, reason="this C library is not glibc: there is nothing to set")

# How many pages the system has to clear for a block of 48 MiB that has been there before: 12288, or none.
PROBE = """
import hashlib, json, resource, torch
torch.set_num_threads(1)
def faults(step):
    for _ in range(16):  # aligned blocks of one size do not fit into each other's place at once
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def block():
    torch.empty(12 << 20).fill_(1)
"""
NETWORK = """
import frerec, frerec.rhm.network, frerec.run.process, frerec.run.evaluator
kept = {call}
torch.manual_seed(0)
net = frerec.rhm.network.FreRecNet().eval()
torch.nn.init.normal_(net.output.conv.weight, std=0.02)
x = torch.rand(1, 1, 96, 104)
with torch.inference_mode():
    sha256 = hashlib.sha256(net(x).numpy().tobytes()).hexdigest()
    print(json.dumps([kept, sha256, faults(block), faults(lambda: net(x))]))
"""


def run(code: str, **environment: str) -> Any:
    """What a fresh process prints."""
    settings = {**os.environ, "PYTHONPATH": str(ROOT / "bundle"), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run([sys.executable, "-c", PROBE + code], env=settings, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


@needs_glibc
def test_kept_memory_needs_no_new_pages_and_changes_no_bit() -> None:
    kept, same, block, network = run(NETWORK.format(call="frerec.run.process.keep_freed_memory()"))
    not_kept, reference, given_back, network_before = run(NETWORK.format(call="False"))
    assert kept and not not_kept
    assert same == reference
    assert block < 100 and given_back > 10_000, "importing the library alone must not change the process"
    # some releases of torch keep memory of their own accord
    assert network <= network_before / 10


@needs_glibc
def test_the_variable_switches_it_off() -> None:
    code = "from frerec.run import process; print(json.dumps([process.keep_freed_memory(), faults(block)]))"
    assert run(code) == [True, pytest.approx(0, abs=100)]
    kept, given_back = run(code, **{SWITCH: "0"})
    assert not kept and given_back > 10_000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from frerec.run.process import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A picture and a volume."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "in"
    folder.mkdir()
    smooth = gaussian_filter(rng.random((96, 80)), 6)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    Image.fromarray(np.uint8(255 * smooth)).save(folder / "a.png")
    volume = np.float32(np.stack([smooth[:40, :48]] * 3, axis=-1) + 0.02 * rng.random((40, 48, 3)))
    nib.save(nib.Nifti1Image(volume, np.eye(4)), folder / "b.nii.gz")
    return folder


@needs_glibc
def test_a_workflow_sets_it_before_it_computes(folder: Path, tmp_path: Path) -> None:
    code = f"""
from monai.bundle import ConfigWorkflow
workflow = ConfigWorkflow({str(ROOT / "configs" / "inference.json")!r}, workflow_type="inference", logging_file=False,
    dataset_dir={str(folder)!r}, output_dir={str(tmp_path / "out")!r}, bundle_root={str(ROOT)!r})
before = faults(block)
workflow.initialize()
print(json.dumps([before, faults(block)]))
"""
    before, after = run(code)
    assert before > 10_000 and after < 100


def test_a_run_writes_the_same_bytes_with_and_without(
    folder: Path, bundle_command: BundleCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = {}
    for switch in ("0", "1"):
        monkeypatch.setenv(SWITCH, switch)
        words = ("run", "--config_file", ROOT / "configs" / "inference.json", "--dataset_dir", folder)
        bundle_command(*words, "--output_dir", tmp_path / switch, "--device", "cpu")
        written[switch] = {name: (tmp_path / switch / name).read_bytes() for name in ("a.png", "b.nii.gz")}
    assert written["0"] == written["1"]
