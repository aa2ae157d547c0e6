"""frerec.rhm.precision: bfloat16 where the processor has it, said and recorded where it has not."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from frerec.rhm.precision import applied_precision, network_dtype
from tests.conftest import BundleCommand

ROOT = Path(__file__).resolve().parents[2]
FLAGS = Path("/proc/cpuinfo")


@pytest.mark.skipif(not FLAGS.exists(), reason="the flags of the processor are read from /proc/cpuinfo")
def test_the_processor_is_asked() -> None:
    flags = set(FLAGS.read_text().split())
    has_it = bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}) and hasattr(torch.cpu, "get_capabilities")
    assert network_dtype("cpu", True) == (torch.bfloat16 if has_it else torch.float32)
    assert network_dtype("cpu", False) == torch.float32
    assert network_dtype(torch.device("meta"), True) == torch.float32


@pytest.mark.parametrize(
    ("found", "dtype"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"bf16": True, "neon": True}, torch.bfloat16),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_what_a_processor_tells_decides(
    found: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MappingProxyType(found), raising=False)
    assert network_dtype("cpu", True) == dtype
    with caplog.at_level(logging.WARNING):
        assert applied_precision("cpu", True) == str(dtype).removeprefix("torch.")
        assert [record.getMessage() for record in caplog.records] == (
            [] if dtype == torch.bfloat16 else ["amp=True: this cpu does not compute in bfloat16, so float32 is used"]
        )
        caplog.clear()
        assert applied_precision("cpu", False) == "float32"
        assert caplog.records == []


def test_an_older_torch_that_does_not_tell_means_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert network_dtype("cpu", True) == torch.float32


@pytest.mark.parametrize("amp", [True, False])
def test_a_picture_records_the_precision_that_was_applied(
    amp: bool, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    # a smooth image with texture; of one that is all high frequencies stage 1 would leave nothing, which is refused
    texture = gaussian_filter(np.random.default_rng(0).normal(0, 1, (72, 80)), 8)
    Image.fromarray((128 + 60 * texture / np.abs(texture).max()).astype(np.uint8)).save(folder / "a.png")
    words = ("run", "--config_file", ROOT / "configs" / "inference.json", "--dataset_dir", folder, "--device", "cpu")
    bundle_command(*words, "--output_dir", tmp_path / "out", "--amp", str(amp))
    with Image.open(tmp_path / "out" / "a.png") as picture:
        settings = json.loads(picture.text["FreRec"])["settings"]
    assert settings["precision"] == str(network_dtype("cpu", amp)).removeprefix("torch.")
