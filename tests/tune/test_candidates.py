"""A candidate is the same thing as an arm of the study and as overrides of inference.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import frerec
from frerec.errors import ConfigError
from frerec.tune.candidates import AS_THEY_ARE, NOT_ADDED, Candidate, make_candidates
from frerec.tune.page import in_words

SHARED = {"bank_path": None, "weights_path": None, "top_k": 7, "seed": 3, "device": "cpu", "preset": "compact"}


def test_every_combination_has_its_own_name() -> None:
    found = make_candidates([0.3, 1.0, 1.0], [0.05, 0.1], [0.0, 0.1], ["shr", "both"])
    assert len(found) == len({c.name for c in found}) == 16
    assert {len(in_words(c.name).split(",")) for c in found} == {5}
    assert in_words(found[0].everything.name).endswith("all images")


@pytest.mark.parametrize(("strengths", "stages", "told"), [([0.0], ["shr"], "strengths"), ([1.0], ["rhm"], "stages")])
def test_what_is_no_candidate_is_refused(strengths: list[float], stages: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make_candidates(strengths, [0.1], [0.1], stages)


@pytest.mark.parametrize("stage", ["shr", "both"])
def test_the_arm_does_what_the_overrides_say(stage: str) -> None:
    candidate = Candidate("x", True, stage, 0.7, 0.2, 0.05).everything
    told = candidate.overrides(SHARED)
    arm = candidate.arm(SHARED)
    image = torch.rand(1, 48, 48, generator=torch.Generator().manual_seed(0))
    assert arm.synthetic is arm.real is not None
    found = arm.synthetic({"image": image})["pred"]
    expected = frerec.Recalibrate.from_bundle(**told)(image)
    assert torch.equal(torch.as_tensor(found).clamp(0, 1), expected)
    assert ("weights_path" in told, told["use_network"], told["top_k"]) == (False, stage == "both", 7)


def test_paths_of_ones_own_are_told_and_those_of_the_bundle_are_not(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = str(Path(frerec.bundle_root()) / "models" / "model.pt")
    shared = {**SHARED, "bank_path": "mine.safetensors", "weights_path": shipped}
    told = Candidate("x", True, "both", 0.7).overrides(shared)
    assert told["bank_path"] == str(tmp_path / "mine.safetensors")
    assert not {"weights_path", "device"} & told.keys()


@pytest.mark.parametrize("candidate", [NOT_ADDED, AS_THEY_ARE])
def test_images_as_they_are_pass_through_inference(candidate: Candidate, bundle_root: Path) -> None:
    told = candidate.overrides(SHARED)
    assert told == {"strength": 0.0, "use_network": False}
    assert told.keys() <= json.loads((bundle_root / "configs" / "inference.json").read_text()).keys()
