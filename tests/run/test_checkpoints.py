from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from frerec.run.handlers import WholeCheckpointSaver


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
