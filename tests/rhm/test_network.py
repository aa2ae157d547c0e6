"""frerec.rhm.network: identity at the start, every size and kind of input, every parameter trained."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from frerec.errors import FreRecError
from frerec.rhm.blocks import FESA
from frerec.rhm.network import FreRecNet
from frerec.spectrum import irfftn, rfftn

SMALL: dict[str, Any] = {"num_blocks": (1, 1), "num_refinement_blocks": 1, "width": 8, "heads": (1, 2)}


def shaken(net: FreRecNet, scale: float = 0.02) -> FreRecNet:
    """The network with every parameter moved at random, away from the identity."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
    return net


@pytest.mark.parametrize("fesa", [True, False])
@pytest.mark.parametrize("stem_stride", [1, 2, 4])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 17, 33), (1, 1, 64, 64), (1, 2, 5, 90)])
def test_untrained_it_returns_its_input_exactly(shape: tuple[int, ...], stem_stride: int, fesa: bool) -> None:
    net = FreRecNet(2, shape[1], shape[1], None, stem_stride=stem_stride, fesa=fesa, **SMALL)
    x = torch.randn(shape)
    assert torch.equal(net(x), x)


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_presets_are_built_as_documented(preset: str) -> None:
    net = FreRecNet(preset=preset)
    blocks = [len(level) for level in net.encoders] + [len(net.bottom)]  # type: ignore[arg-type]
    parameters = sum(p.numel() for p in net.parameters())
    if preset == "paper":
        assert blocks == [2, 4, 6, 8] and len(net.refinement) == 2
        assert net.embed.conv.weight.shape[0] == 48
    else:
        assert 1e6 < parameters < 3e6
    x = torch.rand(1, 1, 16, 24)
    assert torch.equal(net(x), x)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (2, 2, 9, 12, 5)])
def test_volumes(shape: tuple[int, ...]) -> None:
    net = FreRecNet(3, shape[1], shape[1], None, stem_stride=2, **SMALL)
    x = torch.randn(shape)
    assert torch.equal(net(x), x)
    assert shaken(net)(x).shape == x.shape


def test_other_channels_out_than_in() -> None:
    net = FreRecNet(2, 3, 1, None, **SMALL)
    out = net(torch.rand(2, 3, 20, 11))
    assert out.shape == (2, 1, 20, 11) and out.std() > 0


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("wide_decoder", [True, False])
def test_gradients_reach_every_parameter(spatial_dims: int, wide_decoder: bool) -> None:
    net = shaken(FreRecNet(spatial_dims, 1, 1, None, stem_stride=2, wide_decoder=wide_decoder, **SMALL))
    x = torch.rand(2, 1, *[16] * spatial_dims)
    net(x).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_gradients_are_finite_on_a_constant_image() -> None:
    net = shaken(FreRecNet(2, 1, 1, None, **SMALL))
    net(torch.zeros(1, 1, 16, 16)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_without_fesa_no_fourier_parameter_is_left() -> None:
    with_fesa, without = (FreRecNet(2, 1, 1, None, fesa=fesa, **SMALL) for fesa in (True, False))
    assert any("fesa" in name for name in with_fesa.state_dict())
    assert not any("fesa" in name or "fuse" in name for name in without.state_dict())


def test_state_dict_survives_a_weights_only_file(tmp_path: Any) -> None:
    net = shaken(FreRecNet(2, 1, 1, None, **SMALL))
    torch.save(net.state_dict(), tmp_path / "model.pt")
    other = FreRecNet(2, 1, 1, None, **SMALL)
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True), strict=True)
    x = torch.rand(1, 1, 20, 20)
    assert torch.equal(net(x), other(x))


def test_autocast_keeps_the_fourier_transform_in_float32() -> None:
    net = shaken(FreRecNet(2, 1, 1, None, **SMALL)).eval()
    x = torch.rand(2, 1, 30, 22)
    with torch.no_grad():
        exact = net(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = net(x)
    change = (exact - x).abs().max()
    assert mixed.dtype == torch.float32
    assert (mixed - exact).abs().max() < 0.05 * change
    fesa = FESA(2, 8, 6, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = torch.rand(1, 8, 12, 12).bfloat16()
        out = fesa(half)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, half)  # an untrained gate changes nothing, so neither may the transform


def test_fesa_is_a_gate_on_amplitudes_that_keeps_phases() -> None:
    torch.manual_seed(0)
    fesa = FESA(2, 8, 12, 2)
    torch.nn.init.normal_(fesa.gate.weight, std=1.0)
    x = torch.randn(1, 8, 21, 32)
    before, after = rfftn(x, 2), rfftn(fesa(x), 2)
    gain = after / before
    assert gain.imag.abs().max() < 1e-3 * gain.real.abs().max()
    assert gain.real.min() > 0 and gain.real.max() < 2
    assert gain.real.std() > 0.05
    torch.testing.assert_close(after[..., 0, 0], before[..., 0, 0])


def test_fesa_looks_no_further_than_its_reach() -> None:
    torch.manual_seed(0)
    fesa = FESA(2, 4, 10, 2)
    torch.nn.init.normal_(fesa.gate.weight)
    amplitude = torch.rand(1, 10, 4)
    other = amplitude.clone()
    other[:, 7] += 1
    changed = (fesa.ring_gates(amplitude) - fesa.ring_gates(other)).abs().amax((0, 2)) > 0
    assert changed.nonzero().flatten().tolist() == [5, 6, 7, 8, 9]


def test_a_short_training_restores_an_attenuated_band() -> None:
    torch.manual_seed(0)
    net = FreRecNet(2, 1, 1, None, stem_stride=2, **SMALL)
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    errors = []
    for _ in range(40):
        target = torch.randn(4, 1, 24, 24)
        spectrum = rfftn(target, 2)
        spectrum[..., 8:] *= 0.5
        loss = (net(irfftn(spectrum, (24, 24))) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(loss.item())
    assert math.fsum(errors[-5:]) < 0.7 * math.fsum(errors[:5])


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 3, 8, 8), (1, 1, 8, 8, 8), (1, 1, 0, 8)])
def test_wrong_inputs_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(FreRecError, match=r"input of shape \(" + ", ".join(map(str, shape))):
        FreRecNet(2, 1, 1, None, **SMALL)(torch.zeros(shape))
