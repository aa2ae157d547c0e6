from __future__ import annotations

from pathlib import Path

import pytest
import torch

from frerec.errors import ConfigError, FreRecError, InputError
from frerec.rhm.flow import RestorationFlow
from frerec.rhm.network import FreRecNet
from frerec.rhm.networks import load_weights, restoration_network


def test_networks_by_name() -> None:
    assert isinstance(restoration_network("compact"), RestorationFlow)
    assert isinstance(restoration_network("small", channels=3), FreRecNet)
    with pytest.raises(ConfigError, match=r"^preset='tiny': unknown preset\. Use one of compact, "):
        restoration_network("tiny")


@pytest.mark.parametrize("nested", [False, True])
def test_weights_come_back_plain_or_from_a_checkpoint(nested: bool, tmp_path: Path) -> None:
    network = restoration_network("small")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
    state = network.state_dict()
    torch.save({"model": state} if nested else state, tmp_path / "model.pt")
    loaded = load_weights(restoration_network("small"), tmp_path / "model.pt").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_what_is_no_file_of_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.pt: the weights cannot be read"):
        load_weights(restoration_network("small"), tmp_path / "gone.pt")
    (tmp_path / "text.pt").write_text("no weights")
    torch.save(restoration_network("small", channels=3).state_dict(), tmp_path / "colour.pt")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    for name in ("text.pt", "colour.pt", "tensor.pt"):
        with pytest.raises(InputError, match=rf"{name}: not weights of this network"):
            load_weights(restoration_network("small"), tmp_path / name)


@pytest.mark.parametrize("name", ["compact", "small"])
def test_weights_of_another_network_are_refused_where_a_program_loads_loosely_too(name: str) -> None:
    network, before = restoration_network(name), restoration_network(name).state_dict()
    network.load_state_dict(before)
    other = {key: value + 1 for key, value in before.items()}
    few = {key: other[key] for key in list(other)[1:]}
    for state in ({**other, "more": torch.zeros(1)}, few, {}, restoration_network(name, channels=3).state_dict()):
        with pytest.raises(FreRecError, match=r"^these are weights of another network: of its \d+ tensors .*\. Use "):
            network.load_state_dict(state, strict=False)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    network.load_state_dict(other, strict=False)
    assert all(torch.equal(value, other[key]) for key, value in network.state_dict().items())


def test_the_file_of_a_generator_is_no_network(bundle_root: Path) -> None:
    state = torch.load(bundle_root / "models" / "generator" / "model.pt", weights_only=True)
    with pytest.raises(FreRecError, match=r"105 are missing .* belong elsewhere"):
        restoration_network().load_state_dict(state, strict=False)
