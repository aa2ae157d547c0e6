"""The network leaves Python through monai.bundle's exporters and answers the same in other engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ckpt_export, onnx_export
from PIL import Image
from scipy.ndimage import gaussian_filter

from frerec.rhm.inferer import RecalibrationInferer
from frerec.rhm.network import FreRecNet
from frerec.rhm.networks import load_weights, restoration_network
from tests.conftest import BundleCommand

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


SHAPE = (1, 1, 72, 64)
# the same sums in another order, on values near 1
TOLERANCE = {"rtol": 0.0, "atol": 2e-5}
BLOCKS = 7  # of FreRecNet
Made = tuple[torch.nn.Module, dict[str, str]]


@pytest.fixture(scope="module", params=["compact", "small"])
def made(request: pytest.FixtureRequest, bundle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A network as inference.json makes it, and where an exporter finds it: the shipped one, and FreRecNet."""
    folder = tmp_path_factory.mktemp(request.param)
    config = json.loads((bundle_root / "configs" / "inference.json").read_text()) | {"preset": request.param}
    (folder / "inference.json").write_text(json.dumps(config))
    network = restoration_network(request.param).eval()
    weights = bundle_root / "models" / "model.pt"
    if request.param == "compact":
        load_weights(network, weights)
    else:  # untrained, it would return its input
        weights = folder / "model.pt"
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
        torch.save(network.state_dict(), weights)
    paths = {"ckpt_file": weights, "config_file": folder / "inference.json", "bundle_root": bundle_root}
    return network, {key: str(path) for key, path in paths.items()}


@torch.no_grad()
def test_a_traced_file_answers_the_same(made: Made, tmp_path: Path) -> None:
    network, paths = made
    ckpt_export("network_def", str(tmp_path / "model.ts"), use_trace=True, input_shape=SHAPE, **paths)
    exported = torch.jit.load(tmp_path / "model.ts").eval()
    for seed in range(2):  # not the values it was traced with
        x = torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(exported(x), network(x), **TOLERANCE)
        assert (network(x) - x).abs().max() > 1e-3


@torch.no_grad()
def test_onnx_runtime_answers_the_same(made: Made, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="ONNX export needs onnxscript: pip install '.[deploy]'")
    onnx = pytest.importorskip("onnx", reason="ONNX export needs onnx: pip install '.[deploy]'")
    runtime = pytest.importorskip("onnxruntime", reason="the answer comes from ONNX Runtime: pip install '.[deploy]'")
    network, paths = made
    exporter = {"dynamo": True, "opset_version": 20}
    path = str(tmp_path / "model.onnx")
    onnx_export("network_def", path, use_trace=True, input_shape=SHAPE, converter_kwargs=exporter, **paths)
    transforms = [node.op_type for node in onnx.load(path).graph.node].count("DFT")
    if isinstance(network, FreRecNet):
        assert transforms == 4 * BLOCKS, "two axes there and two back in every block"
    else:
        assert transforms == 0, "cosine transforms are products of matrices"
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def engine(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {name: x.numpy()})[0])

    x = torch.rand(SHAPE)
    torch.testing.assert_close(engine(x), network(x), **TOLERANCE)
    # a larger image in windows of the exported size
    size = {"max_size": 72, "roi_size": SHAPE[2:]}
    large = torch.rand(1, 1, 100, 90)
    torch.testing.assert_close(
        RecalibrationInferer(**size)(large, engine), RecalibrationInferer(**size)(large, network), **TOLERANCE
    )


@torch.no_grad()
def test_openvino_answers_the_same(made: Made) -> None:
    openvino = pytest.importorskip("openvino", reason="the answer comes from OpenVINO: pip install openvino")
    network, _ = made
    # the flow read back from a TorchScript file answers wrongly in OpenVINO 2026.4, as traced here it does not
    exported = torch.jit.trace(network, torch.rand(SHAPE))
    model = openvino.convert_model(exported, example_input=torch.rand(SHAPE))
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    x = torch.rand(SHAPE)
    torch.testing.assert_close(torch.from_numpy(compiled(x.numpy())[0]), network(x), **TOLERANCE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the engine itself would answer")
def test_the_tensorrt_overlay_changes_nothing_where_there_is_no_gpu(
    bundle_root: Path, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    texture = gaussian_filter(np.random.default_rng(0).normal(0, 1, (40, 48)), 8)
    Image.fromarray((128 + 60 * texture / np.abs(texture).max()).astype(np.uint8)).save(folder / "a.png")
    plain = bundle_root / "configs" / "inference.json"
    both = f"['{plain}','{bundle_root / 'configs' / 'inference_trt.json'}']"
    for name, config, words in (("plain", plain, ("--amp", "False")), ("trt", both, ())):
        made = ("--dataset_dir", folder, "--output_dir", tmp_path / name, *words)
        done = bundle_command("run", "--config_file", config, *made)
    assert "TensorRT and/or polygraphy packages are not available" in done.stdout
    assert (tmp_path / "plain" / "a.png").read_bytes() == (tmp_path / "trt" / "a.png").read_bytes()
