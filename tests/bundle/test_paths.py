"""Whoever reads a config, and from whichever directory, finds the package and what ships with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigParser

import frerec
from frerec.rhm.networks import load_weights, restoration_network
from frerec.run.preflight import PreflightError
from tests.bundle.conftest import SmallCohort
from tests.conftest import BundleCommand


@pytest.fixture
def moved(bundle_root: Path, tmp_path: Path) -> Path:
    """Configs and network of the bundle in a folder whose name means something to shells, lists and Python."""
    root = tmp_path / "my bundles, [old] = 'x'" / "frerec"
    shutil.copytree(bundle_root / "configs", root / "configs")
    (root / "models").mkdir()
    shutil.copy(bundle_root / "models" / "model.pt", root / "models")
    return root


def statuses(output: Path) -> set[str]:
    return {json.loads(line)["status"] for line in (output / "manifest.jsonl").read_text().splitlines()}


def test_what_ships_lies_beside_the_package(bundle_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert frerec.bundle_root() == str(bundle_root)


@pytest.mark.parametrize("name", ["train", "inference"])
def test_monai_loads_the_network(name: str, moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    network = monai.bundle.load("frerec", bundle_dir=moved.parent, workflow_type=name, device="cpu")
    expected = load_weights(restoration_network(), moved / "models" / "model.pt")
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(network.eval()(image), expected.eval()(image))
    # it was asked for a network: no folder of a training, no report
    assert sorted(tmp_path.rglob("*")) == before


def test_a_workflow_made_in_python(moved: Path, small_cohort: SmallCohort, tmp_path: Path) -> None:
    ids = {"bank_path": str(small_cohort.bank), "weights_path": str(small_cohort.weights), "top_k": 4, "device": "cpu"}
    config = str(moved / "configs" / "inference.json")
    workflow = monai.bundle.create_workflow(
        config_file=config, workflow_type="inference", output_dir=str(tmp_path / "out"), **ids
    )
    # nothing is missing until it is to run
    with pytest.raises(PreflightError) as ended:
        workflow.run()
    assert ended.value.code == 3
    assert [problem.config_id for problem in ended.value.problems] == ["dataset_dir"]
    workflow.dataset_dir = str(small_cohort.folder)
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    assert statuses(tmp_path / "out") == {"done", "ignored"}


def test_a_workflow_made_in_python_from_a_file_of_arguments(
    moved: Path, small_cohort: SmallCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {
        "config_file": str(moved / "configs" / "inference.json"), "workflow_type": "infer", "top_k": 4, "device": "cpu",
        "dataset_dir": str(small_cohort.folder), "bank_path": str(small_cohort.bank), "output_dir": "from a file",
        "weights_path": str(small_cohort.weights),
    }  # fmt: skip
    (tmp_path / "args.json").write_text(json.dumps(given))
    workflow = monai.bundle.create_workflow(args_file=str(tmp_path / "args.json"), output_dir="out")
    assert isinstance(workflow, monai.bundle.ConfigWorkflow)
    assert workflow.check_properties() == []
    assert workflow.network_def is workflow.parser.get_parsed_content("network_def")
    workflow.evaluator.run()
    assert statuses(tmp_path / "out") == {"done", "ignored"}
    assert not (tmp_path / "from a file").exists(), "what is said in Python counts"


def test_nothing_is_needed_to_look_at_the_parts_of_a_workflow(bundle_root: Path) -> None:
    config = str(bundle_root / "configs" / "inference.json")
    workflow = monai.bundle.create_workflow(config_file=config, workflow_type="infer")
    assert workflow.check_properties() == []
    assert len(workflow.parser.get_parsed_content("dataset")) == 0


def test_a_file_of_arguments(
    moved: Path, small_cohort: SmallCohort, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    given = {
        "config_file": str(moved / "configs" / "inference.json"), "dataset_dir": str(small_cohort.folder),
        "bank_path": str(small_cohort.bank), "weights_path": str(small_cohort.weights), "top_k": 4,
    }  # fmt: skip
    (tmp_path / "args.json").write_text(json.dumps(given))
    words = ("run", "--args_file", tmp_path / "args.json", "--output_dir", tmp_path / "out")
    done = bundle_command(*words, "--strength", 0.5)
    assert statuses(tmp_path / "out") == {"done", "ignored"}
    # the config lies in another bundle than the package, which has a bank and weights of its own
    assert (
        f"{moved}: the config lies in this bundle, but what ships is taken from {frerec.bundle_root()}" in done.stdout
    )
    done = bundle_command(*words, "--bundle_root", moved)
    assert "what ships is taken from" not in done.stdout
    (tmp_path / "args.json").write_text(json.dumps({**given, "strenght": 0.5}))
    done = bundle_command(*words, check=False)
    assert done.returncode == 3
    assert "- strenght=0.5: the config has no such id. Did you mean strength." in done.stdout


def test_several_files_and_a_single_step(
    moved: Path, small_cohort: SmallCohort, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    (tmp_path / "mine, too").mkdir()
    mine = tmp_path / "mine, too" / "overrides.json"
    mine.write_text(json.dumps({"bank_path": str(small_cohort.bank), "top_k": 4, "output_dir": str(tmp_path / "out")}))
    files = repr([str(moved / "configs" / "inference.json"), str(mine)])
    # the check alone, without the run
    bundle_command("run", "preflight", "--config_file", files, "--dataset_dir", small_cohort.folder)
    assert not (tmp_path / "out").exists()
    done = bundle_command("run", "preflight", "--config_file", files, "--dataset_dir", tmp_path / "gone", check=False)
    assert done.returncode == 3 and "inference cannot start: 1 problem" in done.stdout


def test_a_config_taken_apart_by_an_application(moved: Path) -> None:
    # as MONAI Label does: it sets bundle_root, asks for single components and never resolves `initialize`
    parser = ConfigParser()
    parser.read_config(str(moved / "configs" / "inference.json"))
    parser.config.update({"bundle_root": str(moved)})
    assert parser.get_parsed_content("weights_path") == str(moved / "models" / "model.pt")
    weights = torch.load(moved / "models" / "model.pt", weights_only=True)
    assert parser.get_parsed_content("network_def").state_dict().keys() == weights.keys()


def test_the_network_is_exported_and_verified_from_another_directory(
    moved: Path, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    config, meta = moved / "configs" / "inference.json", moved / "configs" / "metadata.json"
    words = ("--config_file", config, "--meta_file", meta)
    done = bundle_command("verify_net_in_out", "network_def", *words, "--device", "cpu")
    assert "verified with no error" in done.stdout
    weights = moved / "models" / "model.pt"
    bundle_command(
        "ckpt_export", "network_def", *words, "--ckpt_file", weights, "--filepath", tmp_path / "model.ts",
        "--use_trace", True, "--input_shape", "[1,1,64,64]",
    )  # fmt: skip
    expected = load_weights(restoration_network(), weights)
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        exported = torch.jit.load(tmp_path / "model.ts")(image)
        assert torch.allclose(exported, expected.eval()(image), atol=1e-5)
