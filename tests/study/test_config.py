"""configs/study.json from another directory: every arm at once."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from frerec.errors import ConfigError
from frerec.rhm.flow import RestorationFlow
from frerec.shr.bank.reference import ReferenceBank
from frerec.study.runner import run_study

ARMS = [
    "RAW", "RAW balanced", "RAW+AUG", "RAW+FreRec", "GDA", "GDA+HIST", "GDA+HIST nearest", "GDA+FDA low",
    "GDA+FDA high", "GDA+SHR", "GDA+RHM", "GDA+FreRec", "GDA+FreRec all", "GDA all classes", "FULL",
]  # fmt: skip


def test_every_arm_runs_from_the_config(
    bundle_command: Any, bundle_root: Path, pictures: Any, picture_loader: Any, tmp_path: Path
) -> None:
    real = [*pictures("train", 8), *pictures("val", 4), *pictures("test", 4)]
    with (tmp_path / "list.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, ["image", "label", "split", "patient"])
        table.writeheader()
        table.writerows(real)
    made = Path(pictures("made", 8)[0]["image"]).parents[1]
    bank = ReferenceBank.build([picture_loader(row)["image"] for row in real[:16]], tmp_path / "bank.safetensors")
    torch.manual_seed(0)
    network = RestorationFlow(profile=bank.mean_profile)
    # Untrained, the network returns its input; this makes it one that changes images.
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    words = {
        "config_file": bundle_root / "configs" / "study.json", "datalist": tmp_path / "list.csv",
        "synthetic_dir": made, "output_dir": tmp_path / "out", "bank_path": tmp_path / "bank.safetensors",
        "weights_path": tmp_path / "model.pt",
        "image_size": "[32,32]", "arm_names": ARMS, "num_seeds": 1, "max_steps": 2, "batch_size": 4, "validations": 1,
        "draws": 50, "top_k": 4, "device": "cpu", "rare_class": "class1", "rare_fraction": 0.5,
    }  # fmt: skip
    done = bundle_command("run", *(word for key, value in words.items() for word in (f"--{key}", value)))
    assert "run 15 of 15" in done.stdout
    summary = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [arm["arm"] for arm in summary["cells"][0]["arms"]] == ARMS
    predictions = {}
    for path in (tmp_path / "out" / "runs").iterdir():
        content = json.loads(path.read_text())
        predictions[content["run"]["arm"]] = tuple(map(tuple, content["probabilities"]))
        name = content["run"]["arm"]
        assert content["n_real"] == (16 if name == "FULL" else 12)
        expected = 8 if name == "GDA all classes" else 4
        assert content["n_synthetic"] == (expected if name.startswith("GDA") else 0)
        assert set(content["thresholds"]) == {"balanced_accuracy", "sensitivity"}
        assert ("probe" in content) == name.startswith("GDA")
    assert len(set(predictions.values())) == 15, "no arm is by mistake the same as another"
    cell = summary["cells"][0]
    assert (cell["rare_class"], cell["rare_fraction"], cell["synthetic_ratio"]) == ("class1", 0.5, 0)
    page = (tmp_path / "out" / "report.html").read_text()
    for words_of_page in (
        "50% of the real training images of class1",
        "sensitivity at 90 % specificity",
        "probe: source",
    ):
        assert words_of_page in page


def test_an_error_stays_the_error_it_is() -> None:
    # the program's one line and exit code come from frerec.run.failure
    def make() -> Any:
        raise ConfigError("synthetic_ratio", 9, "too many", "Use fewer")

    with pytest.raises(ConfigError, match=r"^synthetic_ratio=9: too many\. Use fewer\.$"):
        run_study(make)
