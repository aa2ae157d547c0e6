from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from frerec.audit.dataset import AuditDataset
from frerec.audit.features import FeatureInferer, FeatureNetwork, FeatureTraining
from frerec.errors import InputError
from tests.audit.conftest import textures


class TwoKinds:
    """Training images whose label shows: one kind is darker."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        index = int(data["image"])
        return {"image": textures(range(index, index + 1), 32)[0] - 0.3 * (index % 2)}


def training_set(labels: bool = True) -> AuditDataset:
    common = {"group": "training", "patient": None}
    rows = [{**common, "image": f"{i}", "name": f"{i}", "label": "ab"[i % 2] if labels else None} for i in range(40)]
    return AuditDataset(rows, TwoKinds())


def test_training_on_the_users_labels_learns_and_can_be_kept(tmp_path: Path) -> None:
    network = FeatureNetwork(seed=0)
    before = network(torch.zeros(1, 1, 32, 32))
    FeatureTraining(network, training_set(), size=32, epochs=6, batch_size=8, save_path=str(tmp_path / "f.ts")).run()
    assert "trained on 40 of your real training images to tell a, b" in network.description
    accuracy = float(network.description.split("training accuracy ")[1].split(",")[0])
    assert accuracy > 0.8
    kept = FeatureNetwork(str(tmp_path / "f.ts"))
    x = textures(range(3), 32)
    assert torch.allclose(kept(x), network(x), atol=1e-5)
    assert not torch.allclose(before, network(torch.zeros(1, 1, 32, 32)))
    again = FeatureNetwork(seed=0)
    FeatureTraining(again, training_set(), size=32, epochs=6, batch_size=8).run()
    assert torch.equal(again(x), network(x))


def test_without_labels_the_report_says_that_nothing_was_learnt() -> None:
    network = FeatureNetwork(seed=0)
    FeatureTraining(network, training_set(labels=False), size=32).run()
    assert "untrained" in network.description
    features = network(textures(range(2), 64))
    assert features.shape == (2, 128)
    assert 0.01 < float(features.std()) < 100


def test_a_network_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / "theirs.ts"
    torch.jit.trace(nn.Conv2d(3, 7, 3), torch.zeros(1, 3, 16, 16)).save(str(path))
    network = FeatureNetwork(str(path), channels=1, path_channels=3)
    features = FeatureInferer()(torch.rand(4, 1, 16, 16), network)
    assert features.shape == (4, 7)
    assert "theirs.ts" in network.description
    assert FeatureInferer()(torch.zeros(0, 1, 16, 16), network).shape[0] == 0
    FeatureTraining(network, training_set(), size=32).run()
    assert torch.equal(features, network(torch.rand(4, 1, 16, 16))) is False
    assert "trained on" not in network.description


def test_a_wrong_file_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="features_path"):
        FeatureNetwork(str(tmp_path / "absent.ts"))
    (tmp_path / "text.ts").write_text("no network")
    with pytest.raises(InputError, match="not a TorchScript file"):
        FeatureNetwork(str(tmp_path / "text.ts"))
