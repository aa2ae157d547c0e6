from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from frerec.run.checkpoints import ResumableCheckpoints, WholeCheckpointSaver


def test_what_cannot_be_written_whole_is_not_there(tmp_path: Path) -> None:
    network = torch.nn.Linear(200, 200)
    engine = Engine(lambda _, batch: batch)
    WholeCheckpointSaver(tmp_path, {"model": network}, file_prefix="", save_interval=1, n_saved=1).attach(engine)
    engine.run([1], max_epochs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["model_epoch=1.pt"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises((RuntimeError, OSError)):
            engine.run([1], max_epochs=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.glob("*epoch=2*")) == []


def test_a_training_goes_on_from_its_newest_checkpoint(tmp_path: Path) -> None:
    def train(epochs: int, **options: bool) -> tuple[torch.nn.Linear, list[int]]:
        torch.manual_seed(1)
        network, seen = torch.nn.Linear(3, 3), []

        def step(engine: Engine, _batch: int) -> None:
            seen.append(engine.state.epoch)
            with torch.no_grad():
                network.weight += 1

        engine = Engine(step)
        state = {"network": network, "trainer": engine}
        ResumableCheckpoints(tmp_path, state, "mine", save_interval=2, **options).attach(engine)
        # another training in the same folder
        ResumableCheckpoints(tmp_path, {"network": torch.nn.Linear(1, 1)}, "other", save_interval=1).attach(engine)
        engine.run([0], max_epochs=epochs)
        return network, seen

    whole, seen = train(3)
    assert seen == [1, 2, 3]
    assert [path.name for path in tmp_path.glob("mine_*")] == ["mine_checkpoint_epoch=2.pt"]
    resumed, seen = train(5, save_final=True)
    assert seen == [3, 4, 5]
    assert torch.allclose(resumed.weight, whole.weight + 2)
    assert train(5)[1] == [], "the last state counts, not the last interval"
