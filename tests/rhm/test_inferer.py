"""frerec.rhm.inferer: whole, in windows and slice by slice, against the network run by hand and MONAI's inferers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch
from monai.inferers import SliceInferer, SlidingWindowInferer

from frerec.errors import ConfigError, FreRecError
from frerec.rhm.flow import RestorationFlow
from frerec.rhm.inferer import BLENDING, RecalibrationInferer
from frerec.rhm.precision import network_dtype


class Recorder(torch.nn.Module):
    """A local filter that remembers what it was given."""

    def __init__(self, spatial_dims: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        kind = torch.nn.Conv2d if spatial_dims == 2 else torch.nn.Conv3d
        self.filter = kind(1, 2, 3, padding=1)
        self.given: list[tuple[int, ...]] = []

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert type(x) is torch.Tensor
        self.given.append(tuple(x.shape))
        return self.filter(x)


def test_an_image_up_to_max_size_goes_through_whole() -> None:
    net, x = Recorder(), torch.rand(3, 1, 20, 64)
    out = RecalibrationInferer(max_size=64)(x, net)
    assert net.given == [(1, 1, 20, 64)] * 3
    torch.testing.assert_close(out, net(x))


def test_a_larger_image_goes_through_in_windows_as_in_monai() -> None:
    net, x = Recorder(), torch.rand(2, 1, 70, 41)
    out = RecalibrationInferer(max_size=48, roi_size=32, overlap=0.5)(x, net)
    assert set(net.given) == {(1, 1, 32, 32)}
    reference = SlidingWindowInferer(32, 1, 0.5, mode="gaussian", sigma_scale=BLENDING)(x, net)
    torch.testing.assert_close(out, reference)
    interior = np.s_[..., 2:-2, 2:-2]
    assert (out - net(x))[interior].abs().max() < 0.2  # a filter of 3 x 3 pixels sees the border of a window


def test_a_window_never_sticks_out_of_a_narrow_image() -> None:
    net, x = Recorder(), torch.rand(1, 1, 100, 9)
    assert RecalibrationInferer(max_size=64, roi_size=32)(x, net).shape == (1, 2, 100, 9)
    assert set(net.given) == {(1, 1, 32, 9)}


@pytest.mark.parametrize("size", [1025, 1100, 1500, 2048, 3518, 5000])
def test_a_large_image_costs_little_more_a_pixel_than_a_small_one(size: int) -> None:
    given: list[tuple[int, ...]] = []

    def net(x: torch.Tensor) -> torch.Tensor:
        given.append(tuple(x.shape[2:]))
        return x

    x = torch.rand(1, 1, 40, size)
    torch.testing.assert_close(RecalibrationInferer()(x, net), x)
    assert len(set(given)) == 1 and max(given[0]) <= 1024
    assert size < sum(width for _, width in given) < 1.17 * size  # an eighth twice, and rounding


@pytest.mark.parametrize("sub_batch_size", [1, 2, 3, 16])
def test_a_volume_goes_through_slice_by_slice(sub_batch_size: int) -> None:
    net, x = Recorder(), torch.rand(2, 1, 12, 10, 5)
    out = RecalibrationInferer(sub_batch_size=sub_batch_size)(x, net)
    assert {given[1:] for given in net.given} == {(1, 12, 10)} and max(g[0] for g in net.given) <= sub_batch_size
    reference = SliceInferer(spatial_dim=2, roi_size=(12, 10), sw_batch_size=1)(x, net)
    torch.testing.assert_close(out, reference)


def test_large_slices_of_a_volume_go_through_in_windows() -> None:
    net, x = Recorder(), torch.rand(1, 1, 40, 40, 2)
    out = RecalibrationInferer(max_size=32, roi_size=(16, 32))(x, net)
    assert set(net.given) == {(1, 1, 16, 32)}
    torch.testing.assert_close(out[..., 1], RecalibrationInferer(max_size=32, roi_size=(16, 32))(x[..., 1], net))


@pytest.mark.parametrize("max_size", [16, 8])
def test_a_network_for_volumes(max_size: int) -> None:
    net, x = Recorder(3), torch.rand(1, 1, 16, 12, 9)
    out = RecalibrationInferer(3, max_size=max_size, overlap=0.25)(x, net)
    assert set(net.given) == ({(1, 1, 16, 12, 9)} if max_size == 16 else {(1, 1, 8, 8, 8)})
    assert out.shape == (1, 2, 16, 12, 9)


def test_metadata_dtype_and_extra_arguments_are_passed_on() -> None:
    x = MetaTensor(torch.rand(2, 1, 8, 8), affine=torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0])))
    x.is_batch = True
    x.meta["filename_or_obj"] = ["a.png", "b.png"]

    def net(part: torch.Tensor, factor: float, offset: float = 0.0) -> torch.Tensor:
        return (part * factor + offset).bfloat16()

    out = RecalibrationInferer()(x, net, 2.0, offset=1.0)
    assert isinstance(out, MetaTensor) and out.dtype == torch.float32
    torch.testing.assert_close(out.as_tensor(), (x.as_tensor() * 2 + 1).bfloat16().float())
    assert out.meta["filename_or_obj"] == ["a.png", "b.png"]
    assert torch.equal(out.affine, x.affine)
    assert len(decollate_batch(out)) == 2


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"spatial_dims": 1}, "spatial_dims"),
        ({"max_size": 64, "roi_size": 65}, "roi_size"),
        ({"roi_size": (8, 8, 8)}, "roi_size"),
        ({"roi_size": 0}, "roi_size"),
        ({"overlap": 1.0}, "overlap"),
        ({"sub_batch_size": 0}, "sub_batch_size"),
    ],
)
def test_impossible_settings_are_refused_by_argument(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RecalibrationInferer(**arguments)
    assert caught.value.config_id == name


@pytest.mark.parametrize(("spatial_dims", "shape"), [(2, (1, 8, 8)), (3, (1, 1, 8, 8)), (2, (0, 1, 8, 8))])
def test_wrong_inputs_are_refused_with_their_shape(spatial_dims: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(FreRecError, match=r"input of shape \(" + ", ".join(map(str, shape))):
        RecalibrationInferer(spatial_dims)(torch.zeros(shape), Recorder())


class ReturnsItsInput(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class ReturnsAView(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1].view(x.shape[0], 1, *x.shape[2:])


class WorksInPlace(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mul_(1.0)


@pytest.mark.parametrize("network", [ReturnsItsInput(), ReturnsAView(), WorksInPlace(), torch.nn.Dropout(0.0)])
@pytest.mark.parametrize("shape", [(2, 1, 70, 41), (1, 1, 12, 90), (1, 1, 40, 70, 3)])
@pytest.mark.parametrize("sub_batch_size", [1, 3])
def test_a_network_that_returns_its_input_does_no_harm_to_it(
    network: torch.nn.Module, shape: tuple[int, ...], sub_batch_size: int
) -> None:
    x = torch.rand(shape)
    before = x.clone()
    out = RecalibrationInferer(max_size=48, roi_size=32, sub_batch_size=sub_batch_size)(x, network)
    assert torch.equal(x, before)
    torch.testing.assert_close(out, before)
    out.zero_()
    assert torch.equal(x, before), "the output is the caller's own"


@pytest.mark.parametrize("shape", [(1, 1, 70, 41), (1, 1, 40, 70, 3), (2, 1, 20, 20)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_network_changes_nothing_to_the_last_bit(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.rand(shape, dtype=dtype) * 4000 - 1000
    out = RecalibrationInferer(max_size=48)(x, torch.nn.Identity())
    assert torch.equal(out, x) and out.dtype == dtype
    out.zero_()
    assert x.abs().max() > 0


def test_mixed_precision_is_bfloat16_around_the_network_alone() -> None:
    seen = []

    def net(x: torch.Tensor) -> torch.Tensor:
        seen.append((x.dtype, torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
        return x @ torch.eye(x.shape[-1])

    x = torch.rand(2, 1, 40, 40)
    out = RecalibrationInferer(max_size=32, amp=True)(x, net)
    wanted = network_dtype("cpu", True)
    assert {kind for kind, _, _ in seen} == {torch.float32} and out.dtype == torch.float32
    assert {on for _, on, _ in seen} == {wanted == torch.bfloat16}
    assert not torch.is_autocast_enabled("cpu")
    if wanted == torch.bfloat16:
        assert {kind for _, _, kind in seen} == {torch.bfloat16}
        torch.testing.assert_close(out, x, rtol=2**-8, atol=0)
        assert not torch.equal(out, x)
    given = len(seen)
    RecalibrationInferer(max_size=32)(x, net)
    assert not any(on for _, on, _ in seen[given:])


@torch.no_grad()
def test_a_flow_is_told_the_strength_and_kept_as_it_was() -> None:
    torch.manual_seed(0)
    made = RestorationFlow(profile=torch.full((1, 20), -2.0), strength=1.0, features=(8, 12), num_blocks=1).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    other = RestorationFlow(strength=0.3, features=(8, 12), num_blocks=1).eval()
    other.load_state_dict(made.state_dict())
    x = torch.rand(1, 1, 24, 20)
    expected = other(x)
    assert torch.equal(RecalibrationInferer(strength=0.3)(x, made), expected)
    assert torch.equal(RecalibrationInferer(strength=0)(x, made), x)
    assert torch.equal(RecalibrationInferer()(x, made), made(x))
    assert not torch.equal(made(x), expected)


@torch.no_grad()
def test_a_flow_is_told_all_of_stage_1() -> None:
    torch.manual_seed(0)
    made = RestorationFlow(profile=torch.full((1, 20), -2.0), features=(8, 12), num_blocks=1).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    told = {"strength": 0.4, "mask_ratio": 0.3, "transition": 0.2}
    other = RestorationFlow(**told, features=(8, 12), num_blocks=1).eval()
    other.load_state_dict(made.state_dict())
    x = torch.rand(1, 1, 24, 20)
    assert torch.equal(RecalibrationInferer(**told)(x, made), other(x))
    assert made.at(**told).mask_ratio == 0.3 and made.mask_ratio == 0.1
    assert made.at(mask_ratio=0.1) is made
