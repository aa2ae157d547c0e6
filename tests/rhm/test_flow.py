"""The restoration flow: what it keeps, what it may change, and that it learns what it is meant to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from frerec.errors import ConfigError, FreRecError
from frerec.rhm.flow import RestorationFlow, VelocityNet
from frerec.spectrum.cosine import at_radius, cosine_radius, dctn, idctn

PROFILE = -2 - 3 * torch.linspace(0, 1, 60)[None]  # log10 power falling by three decades


def coloured(n: int, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Gaussian images with the power of ``PROFILE`` around .5."""
    white = torch.randn(n, 1, *shape, generator=torch.Generator().manual_seed(seed))
    white[(..., *[0] * len(shape))] = 0
    return idctn(white * 10 ** (at_radius(PROFILE, shape) / 2), len(shape)) + 0.5


def perturbed(flow: RestorationFlow, seed: int = 0) -> RestorationFlow:
    generator = torch.Generator().manual_seed(seed)
    for parameter in flow.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    return flow.eval()


def test_states_are_white() -> None:
    flow = RestorationFlow(profile=PROFILE)
    state, context = flow.whiten(coloured(40, (48, 64)))
    power = dctn(state).square().mean((0, 1))
    rho = cosine_radius((48, 64))
    for low in torch.arange(0.05, 1.2, 0.2):
        assert float(power[(rho >= low) & (rho < low + 0.2)].mean()) == pytest.approx(1, abs=0.15)
    assert context.shape == (40, 2, 48, 64)
    torch.testing.assert_close(state.mean((-1, -2)), torch.zeros(40, 1), atol=1e-5, rtol=0)


def test_an_untrained_flow_changes_nothing() -> None:
    x = coloured(2, (20, 33))
    with torch.no_grad():
        torch.testing.assert_close(RestorationFlow(profile=PROFILE)(x), x, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(32, 32), (17, 50), (5, 3)])
def test_frequencies_below_the_mask_stay(shape: tuple[int, int]) -> None:
    flow = perturbed(RestorationFlow(profile=PROFILE, mask_ratio=0.3))
    x = coloured(1, shape)
    with torch.no_grad():
        change = dctn(flow(x) - x)
    below = cosine_radius(shape) < 0.3
    assert change[..., below].abs().max() < 1e-5 < change[..., ~below].abs().max()


def test_volumes_go_through_a_3d_flow() -> None:
    flow = perturbed(RestorationFlow(3, profile=PROFILE, features=(8, 12), num_blocks=1))
    x = coloured(1, (10, 12, 9))
    with torch.no_grad():
        assert flow(x).shape == x.shape


def test_strength_zero_gives_the_input_back() -> None:
    x = coloured(1, (16, 16))
    assert torch.equal(perturbed(RestorationFlow(profile=PROFILE, strength=0.0))(x), x)


@pytest.mark.parametrize("evaluations", [1, 6])
def test_the_line_is_followed_exactly_where_the_velocity_is_known(evaluations: int) -> None:
    class Known(nn.Module):
        """The velocity from an image to noise, for one pair."""

        def __init__(self, velocity: torch.Tensor) -> None:
            super().__init__()
            self.known = velocity

        def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
            return self.known

    flow = RestorationFlow(profile=PROFILE, mask_ratio=1e-6, evaluations=evaluations)
    image, noise = coloured(1, (24, 24), 1), coloured(1, (24, 24), 2)
    flow.velocity = Known(flow.whiten(noise)[0] - flow.whiten(image)[0])  # type: ignore[assignment]
    wanted = image - image.mean() + noise.mean()  # the mean is not part of the flow
    torch.testing.assert_close(flow(noise), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("settings", [{"spatial_dims": 4}, {"in_channels": 3}, {"evaluations": 3}])
def test_wrong_arguments_are_named(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings)).removeprefix("in_")):
        RestorationFlow(**settings)  # type: ignore[arg-type]


def test_a_wrong_input_is_named() -> None:
    with pytest.raises(FreRecError, match=r"takes \(B, 1, H, W\)"):
        RestorationFlow()(torch.zeros(1, 3, 8, 8))


def test_a_velocity_net_takes_any_size() -> None:
    net = VelocityNet(2, 3, 1, channels=(8, 12, 16), num_blocks=1)
    for size in [(1, 1), (3, 40), (64, 31)]:
        assert net(torch.rand(1, 3, *size), torch.rand(1, 4)).shape == (1, 1, *size)
