"""The classifiers of the study."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import DenseNet121, ResNet, ViT

from frerec.errors import ConfigError
from frerec.study.classifiers import CLASSIFIERS, build_classifier, check_classifier


@pytest.mark.parametrize(
    ("name", "kind", "millions"),
    # Parameters of the literature's ImageNet models without their heads of 1000 classes: 6.95, 23.5, 85.8.
    [
        ("small_resnet", ResNet, 0.31),
        ("densenet121", DenseNet121, 6.95),
        ("resnet50", ResNet, 23.5),
        ("vit_b_16", ViT, 85.8),
    ],
)
def test_each_gives_logits_of_the_right_shape(name: str, kind: type, millions: float) -> None:
    network = build_classifier(name, 2, 3, 4, (32, 32), seed=0).eval()
    with torch.inference_mode():
        assert network(torch.rand(2, 3, 32, 32)).shape == (2, 4)
    assert any(isinstance(part, kind) for part in network.modules())
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.015)
    assert CLASSIFIERS[name][1] > 0


def test_weights_come_from_the_seed_and_leave_the_global_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (build_classifier("small_resnet", 2, 1, 2, (32, 32), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    weights = [torch.cat([p.flatten() for p in network.parameters()]) for network in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_unknown_names_and_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"alexnet.*small_resnet"):
        check_classifier("alexnet", (128, 128))
    with pytest.raises(ConfigError, match="multiples of 16"):
        check_classifier("vit_b_16", (120, 128))
    with pytest.raises(ConfigError, match="at least 32"):
        build_classifier("small_resnet", 2, 1, 2, (16, 16), 0)
