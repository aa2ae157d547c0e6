"""frerec.rhm.losses against numpy, scipy-free sums over the full spectrum, and MONAI's JukeboxLoss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.losses import JukeboxLoss

from frerec.errors import ConfigError
from frerec.rhm.losses import (
    AMPLITUDE_FLOOR,
    AMPLITUDE_KINDS,
    AmplitudeLoss,
    RestorationLoss,
    SpectralReconstructionLoss,
    complex_spectral_mse,
)
from frerec.spectrum import radial_power

SHAPES = [(2, 1, 16, 16), (1, 3, 15, 8), (1, 1, 6, 5, 7), (1, 1, 4, 6, 8)]


def pair(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)


def spectra(x: torch.Tensor) -> np.ndarray:
    return np.fft.fftn(x.double().numpy(), axes=tuple(range(2, x.ndim)), norm="ortho")


@pytest.mark.parametrize("shape", SHAPES)
def test_by_parseval_the_spectral_term_of_the_paper_is_its_pixel_term(shape: tuple[int, ...]) -> None:
    pred, target = pair(shape)
    dims = len(shape) - 2
    mse = (pred - target).square().mean()
    from_numpy = (np.abs(spectra(pred) - spectra(target)) ** 2).mean()
    spectral = complex_spectral_mse(pred, target, dims)
    assert spectral.item() == pytest.approx(from_numpy, rel=1e-5)
    torch.testing.assert_close(spectral, mse)
    torch.testing.assert_close(SpectralReconstructionLoss(dims)(pred, target), 2 * mse)
    torch.testing.assert_close(SpectralReconstructionLoss(dims, weight=0.25)(pred, target), 1.25 * mse)


def test_the_gradient_of_the_paper_loss_is_that_of_the_mse() -> None:
    pred, target = pair((2, 1, 9, 12))
    pred.requires_grad_()
    (ours,) = torch.autograd.grad(SpectralReconstructionLoss()(pred, target), pred)
    (mse,) = torch.autograd.grad(2 * (pred - target).square().mean(), pred)
    torch.testing.assert_close(ours, mse, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_amplitude_losses_are_means_over_the_full_spectrum(shape: tuple[int, ...]) -> None:
    pred, target = pair(shape)
    a, b = np.abs(spectra(pred)), np.abs(spectra(target))
    linear = AmplitudeLoss(len(shape) - 2, "amplitude")(pred, target)
    assert linear.item() == pytest.approx(((a - b) ** 2).mean(), rel=1e-5)
    logarithmic = AmplitudeLoss(len(shape) - 2, "log_amplitude")(pred, target)
    expected = np.abs(np.log(a + AMPLITUDE_FLOOR) - np.log(b + AMPLITUDE_FLOOR)).mean()
    assert logarithmic.item() == pytest.approx(expected, rel=1e-4)


def test_amplitude_is_the_jukebox_loss_for_one_channel() -> None:
    pred, target = pair((3, 1, 14, 11))
    torch.testing.assert_close(AmplitudeLoss(2, "amplitude")(pred, target), JukeboxLoss(2)(pred, target))


def test_radial_is_the_distance_of_radial_power() -> None:
    pred, target = pair((2, 1, 16, 16))
    p, q = (radial_power(x, 2, window="none") for x in (pred, target))
    expected = (p - q).abs().mean()
    torch.testing.assert_close(AmplitudeLoss(2, "radial")(pred, target), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", AMPLITUDE_KINDS)
def test_amplitude_losses_are_blind_to_shifts_and_finite_at_zero(kind: str) -> None:
    pred, target = pair((1, 1, 12, 12))
    loss = AmplitudeLoss(2, kind)
    assert loss(target.roll((3, 5), (2, 3)), target).item() == pytest.approx(0, abs=1e-4)
    assert loss(pred, target) > 1e-3
    zero = torch.zeros(1, 1, 12, 12, requires_grad=True)
    loss(zero, target).backward()
    assert zero.grad is not None and zero.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["log_amplitude", "radial"])
def test_amplitude_losses_punish_smoothing_that_the_pixel_loss_prefers(kind: str) -> None:
    """Of two wrong answers to an unpredictable texture, the paper's loss takes the flat one, ours the textured one."""
    generator = torch.Generator().manual_seed(0)
    target, guess = (torch.randn(1, 1, 32, 32, generator=generator) for _ in range(2))
    flat = torch.zeros_like(target)
    paper, ours = SpectralReconstructionLoss(), AmplitudeLoss(2, kind)
    assert paper(flat, target) < paper(guess, target)
    assert ours(guess, target) < 0.5 * ours(flat, target)


@pytest.mark.parametrize("spectral", ["none", "complex", *AMPLITUDE_KINDS])
@pytest.mark.parametrize("pixel", ["l1", "mse"])
def test_restoration_loss_is_the_weighted_sum(pixel: str, spectral: str) -> None:
    pred, target = pair((2, 2, 10, 13))
    difference = pred - target
    expected = difference.abs().mean() if pixel == "l1" else difference.square().mean()
    if spectral == "complex":
        expected = expected + 0.3 * difference.square().mean()
    elif spectral != "none":
        expected = expected + 0.3 * AmplitudeLoss(2, spectral)(pred, target)
    torch.testing.assert_close(RestorationLoss(2, pixel, spectral, 0.3)(pred, target), expected)
    assert RestorationLoss(2, pixel, spectral, 0.3)(target, target) == 0


def test_losses_are_computed_in_float32_under_autocast() -> None:
    pred, target = pair((1, 1, 12, 12))
    expected = RestorationLoss()(pred.bfloat16().float(), target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = RestorationLoss()(pred.bfloat16(), target)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, expected)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"pixel": "huber"}, "pixel"), ({"spectral": "phase"}, "spectral"), ({"weight": -1.0}, "weight")],
)
def test_unknown_losses_are_refused_by_argument(arguments: dict, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RestorationLoss(**arguments)
    assert caught.value.config_id == name
    with pytest.raises(ConfigError, match="kind='phase'"):
        AmplitudeLoss(2, "phase")
