"""Training from real images alone: it learns, and it goes on where it was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from frerec.rhm.networks import load_weights, restoration_network
from frerec.run.preflight import PreflightError
from frerec.shr.bank.reference import ReferenceBank
from tests.bundle.conftest import SmallCohort
from tests.conftest import BundleCommand


def training(root: Path, cohort: SmallCohort, output_dir: Path, *overlays: str, **ids: Any) -> ConfigWorkflow:
    given: dict[str, Any] = {
        "dataset_dir": str(cohort.folder),
        "datalist": str(cohort.datalist),
        "bank_path": str(cohort.bank),
        "output_dir": str(output_dir),
        "image_size": [64, 64],
        "crop_size": [32, 32],
        "batch_size": 6,
        "device": "cpu",
    }
    files = [str(root / "configs" / f"{name}.json") for name in ("train", *overlays)]
    made = ConfigWorkflow(files, workflow_type="train", logging_file=False, **(given | ids))
    made.initialize()
    return made


def psnr(made: ConfigWorkflow) -> float:
    made.evaluator.run()
    return float(made.evaluator.state.metrics["psnr"])


def test_the_network_of_the_paper_learns_to_restore(
    bundle_root: Path, small_cohort: SmallCohort, tmp_path: Path
) -> None:
    # All of the high band replaced, and no profile imposed afterwards, so that what is measured is the network.
    ids: dict[str, Any] = {"preset": "small", "strength": 1.0, "mask_ratio": 0.1}
    ids |= {
        f"train#random_transforms#0#{key}": value for key, value in {"strengths": [1, 1], "mask_ratios": [0.1]}.items()
    }
    ids |= {"max_epochs": 20, "val_interval": 100, "learning_rate": 2e-3, "validate#postprocessing": None}
    made = training(bundle_root, small_cohort, tmp_path, "train_paper", **ids)
    before = psnr(made)
    made.run()
    after = psnr(made)
    assert after > before + 1


def test_the_flow_is_trained_and_its_average_kept(bundle_root: Path, small_cohort: SmallCohort, tmp_path: Path) -> None:
    made = training(bundle_root, small_cohort, tmp_path, max_epochs=2, ema_momentum=0.5)
    made.run()
    made.finalize()
    kept = load_weights(restoration_network(), tmp_path / "model.pt").state_dict()
    expected = restoration_network(profile=ReferenceBank.open(small_cohort.bank).mean_profile).profile
    assert torch.equal(kept["profile"], expected)
    trained = made.parser.get_parsed_content("network").state_dict()
    changed = [name for name in kept if name.startswith("velocity.") and kept[name].abs().sum() > 0]
    # the average of the last weights and those before: near the last, and not the same
    assert any(not torch.equal(kept[name], trained[name]) for name in changed)
    assert all(torch.allclose(kept[name], trained[name], atol=0.05) for name in kept)


def test_the_flow_is_finished_adversarially(bundle_root: Path, small_cohort: SmallCohort, tmp_path: Path) -> None:
    start, ids = tmp_path / "flow.pt", {"crop_size": [48, 48], "checkpointing#save_interval": 1}
    given = restoration_network(profile=ReferenceBank.open(small_cohort.bank).mean_profile).state_dict()
    torch.save(given, start)
    ids["initial_weights_path"] = str(start)
    training(bundle_root, small_cohort, tmp_path, "train_adversarial", max_epochs=1, **ids).run()
    made = training(bundle_root, small_cohort, tmp_path, "train_adversarial", max_epochs=2, **ids)
    epochs: list[int] = []
    made.trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: epochs.append(engine.state.epoch))
    made.run()
    assert epochs == [2]  # the discriminator is in the checkpoint, and the training went on
    kept = load_weights(restoration_network(), tmp_path / "model.pt").state_dict()
    changed = [name for name in kept if not torch.equal(kept[name], given[name])]
    assert changed and all(name.startswith("velocity.") for name in changed)
    state = torch.load(tmp_path / "adversarial_checkpoint_epoch=2.pt", weights_only=True)
    assert {"discriminator", "discriminator_optimizer"} <= set(state)
    with pytest.raises(PreflightError, match="initial_weights_path"):
        training(bundle_root, small_cohort, tmp_path / "new", "train_adversarial").run()


def test_training_goes_on_where_it_was(bundle_root: Path, small_cohort: SmallCohort, tmp_path: Path) -> None:
    each = {"val_interval": 1, "checkpointing#save_interval": 1}
    training(bundle_root, small_cohort, tmp_path, max_epochs=1, **each).run()
    (first,) = tmp_path.glob("training_checkpoint_epoch*.pt")
    assert torch.load(first, weights_only=True)["trainer"]["iteration"] == 3
    made = training(bundle_root, small_cohort, tmp_path, max_epochs=2, **each)
    epochs: list[int] = []
    made.trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: epochs.append(engine.state.epoch))
    made.run()
    assert epochs == [2]
    assert torch.load(tmp_path / "training_checkpoint_epoch=2.pt", weights_only=True)["trainer"]["iteration"] == 6


def test_training_starts_from_given_weights(bundle_root: Path, small_cohort: SmallCohort, tmp_path: Path) -> None:
    start = tmp_path / "start.pt"
    given = restoration_network(profile=ReferenceBank.open(small_cohort.bank).mean_profile + 1).state_dict()
    torch.save(given, start)
    made = training(bundle_root, small_cohort, tmp_path, initial_weights_path=str(start))
    made.parser.get_parsed_content("load_initial_weights")
    network = made.parser.get_parsed_content("network")
    assert all(torch.equal(value.cpu(), given[name]) for name, value in network.state_dict().items())
    with pytest.raises(PreflightError, match="initial_weights_path"):
        training(bundle_root, small_cohort, tmp_path, initial_weights_path=str(tmp_path / "none.pt")).run()
    with pytest.raises(PreflightError, match="belong to another network"):
        training(bundle_root, small_cohort, tmp_path, initial_weights_path=str(start), preset="small").run()


def test_a_bank_is_built(
    bundle_root: Path, small_cohort: SmallCohort, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    # Through frerec.run.bank_building, which the config names.
    path = tmp_path / "bank.safetensors"
    words = ("--datalist", small_cohort.datalist, "--bank_path", path, "--licence", "made up")
    bundle_command("run", "--config_file", bundle_root / "configs" / "build_bank.json", *words)
    bank = ReferenceBank.open(path)
    assert len(bank) == 18
    assert bank.info.kind == "statistics"
