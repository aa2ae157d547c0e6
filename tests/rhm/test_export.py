"""The network leaves Python through monai.bundle's exporter and answers the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ckpt_export

from frerec.rhm.network import FreRecNet

# in a traced network sizes are constants, which the tracer points out
pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_ckpt_export_by_trace_gives_equal_outputs(tmp_path: Path, spatial_dims: int) -> None:
    settings = {
        "spatial_dims": spatial_dims, "preset": None, "num_blocks": [1, 1], "num_refinement_blocks": 1, "width": 8,
        "heads": [1, 2], "stem_stride": 2,
    }  # fmt: skip
    torch.manual_seed(0)
    net = FreRecNet(**settings)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    torch.save(net.state_dict(), tmp_path / "model.pt")
    config = {"network_def": {"_target_": "frerec.rhm.network.FreRecNet", **settings}}
    (tmp_path / "inference.json").write_text(json.dumps(config))
    shape = (2, 1, *(18, 22, 9)[:spatial_dims])
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        config_file=str(tmp_path / "inference.json"),
        use_trace=True,
        input_shape=shape,
    )
    exported = torch.jit.load(tmp_path / "model.ts").eval()
    x = torch.rand(shape)
    with torch.no_grad():
        expected = net.eval()(x)
        torch.testing.assert_close(exported(x), expected)
    assert (expected - x).abs().max() > 1e-3


def test_a_traced_network_is_the_same_before_and_after_the_rings_are_cached() -> None:
    net = FreRecNet(num_blocks=(1, 1), num_refinement_blocks=0, width=8, heads=(1, 2), stem_stride=1).eval()
    torch.nn.init.normal_(next(net.output.parameters()))
    x = torch.rand(1, 1, 26, 34)
    with torch.no_grad():
        first = torch.jit.trace(net, x)(x)
        expected = net(x)
        second = torch.jit.trace(net, x)(x)
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(second, expected)
