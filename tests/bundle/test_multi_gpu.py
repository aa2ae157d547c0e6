"""The multi-GPU overlay trains with two processes; without a GPU they talk by gloo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from frerec.rhm.networks import restoration_network
from frerec.shr.bank.reference import ReferenceBank
from tests.bundle.conftest import SmallCohort


def test_two_processes_share_one_training(bundle_root: Path, small_cohort: SmallCohort, tmp_path: Path) -> None:
    configs = [str(bundle_root / "configs" / f"{name}.json") for name in ("train", "multi_gpu_train")]
    batch_size, processes, epochs = 3, 2, 2
    torch.manual_seed(7)
    start = tmp_path / "start.pt"
    given = restoration_network(profile=ReferenceBank.open(small_cohort.bank).mean_profile).state_dict()
    torch.save(given, start)
    ids = {
        "dataset_dir": small_cohort.folder,
        "datalist": small_cohort.datalist,
        "bank_path": small_cohort.bank,
        "output_dir": tmp_path / "training",
        "image_size": [64, 64],
        "crop_size": [32, 32],
        "batch_size": batch_size,
        "max_epochs": epochs,
        "val_interval": 1,
        "checkpointing#save_interval": 1,
        "initial_weights_path": start,
        "learning_rate": 1e-9,
    }
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    words = [word for name, value in ids.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [*launch, "-m", "monai.bundle", "run", "--config_file", str(configs), *words],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:]

    # Each process saw its half of the 18 training images, and only one of the two reported and wrote.
    (last,) = (tmp_path / "training").glob("training_checkpoint_epoch*.pt")
    trainer = torch.load(last, weights_only=True)["trainer"]
    assert trainer["epoch_length"] == 18 // (processes * batch_size)
    assert trainer["iteration"] == epochs * trainer["epoch_length"]
    assert done.stdout.count("Metrics -- psnr") == epochs

    # What it wrote is a plain network: no trace of the wrapper that joins the processes.
    network = restoration_network()
    network.load_state_dict(torch.load(tmp_path / "training" / "model.pt", weights_only=True))

    # With next to no step size it is still what it started from.
    assert all(torch.allclose(value, given[name], atol=1e-5) for name, value in network.state_dict().items())
