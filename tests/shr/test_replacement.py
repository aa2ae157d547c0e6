"""The mathematics of stage 1 against a plain numpy reference over the full spectrum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from frerec.errors import ConfigError
from frerec.shr.noise import white_noise
from frerec.shr.replacement import HighBand, impose_profile, replace_high_frequencies, rescale_amplitudes
from frerec.spectrum import periodic_plus_smooth, radial_power, rfftn

SHAPES = [(32, 32), (33, 48), (17, 31), (10, 12, 9)]


def textured(shape: tuple[int, ...], batch: int = 1, channels: int = 2) -> torch.Tensor:
    """A smooth ramp with texture on it: like an image, most power is at low frequencies."""
    generator = torch.Generator().manual_seed(sum(shape))
    noise = torch.randn(batch, channels, *shape, generator=generator) * 0.05
    return 0.5 + noise + torch.linspace(-0.3, 0.3, shape[-1])


def full_spectrum(x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """numpy's transform of the periodic component, and the radius of each coefficient."""
    dims = x.ndim - 2
    periodic = periodic_plus_smooth(x.double(), dims)[0].numpy()
    frequencies = np.meshgrid(*[np.fft.fftfreq(n) * 2 for n in x.shape[2:]], indexing="ij")
    axes = tuple(range(-dims, 0))
    return np.fft.fftn(periodic, axes=axes, norm="ortho"), np.sqrt(sum(f**2 for f in frequencies))


def profile_of(x: torch.Tensor) -> torch.Tensor:
    return radial_power(x, x.ndim - 2)[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_low_band_stays_and_high_band_gets_the_drawn_power(shape: tuple[int, ...], strength: float) -> None:
    x = textured(shape)
    drawn = torch.full((2, 20), -3.0)
    band = HighBand(shape, 0.4)
    y = replace_high_frequencies(x, drawn, band, strength, white_noise((2, *shape), [7]))
    assert y.shape == x.shape
    assert not y.is_complex()
    # what was added is the difference of the periodic components: its spectrum has no low frequency
    change = np.fft.fftn((y - x).double().numpy(), axes=tuple(range(2, x.ndim)), norm="ortho")
    radius = full_spectrum(x)[1]
    assert np.abs(change[..., radius < 0.4 - 1e-9]).max() < 1e-5
    before, _ = full_spectrum(x)
    after = before + change
    assert (np.abs(after[..., radius >= 0.4]) ** 2).mean() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_without_noise_phases_stay(shape: tuple[int, ...]) -> None:
    x = textured(shape)
    band = HighBand(shape, 0.3)
    y = replace_high_frequencies(x, torch.full((2, 20), -2.0), band, 0.0, torch.randn(x.shape))
    before, radius = full_spectrum(x)
    after = before + np.fft.fftn((y - x).double().numpy(), axes=tuple(range(2, x.ndim)), norm="ortho")
    strong = (radius >= 0.3) & (np.abs(before[0, 0]) > 1e-3)
    turned = np.angle(after[0, 0][strong] / before[0, 0][strong])
    assert np.abs(turned).max() < 1e-2


def test_all_noise_forgets_the_phases() -> None:
    x = textured((64, 64), channels=1)
    band = HighBand((64, 64), 0.3)
    y = replace_high_frequencies(x, profile_of(x), band, 1.0, white_noise((1, 64, 64), [1]))
    a, b = (band.spectrum(v)[..., band.inside].flatten() for v in (x, y))
    correlation = (a * b.conj()).sum().abs() / (a.abs().square().sum() * b.abs().square().sum()).sqrt()
    assert correlation < 0.1


@pytest.mark.parametrize("strength", [0.2, 0.6, 0.9])
def test_strength_is_the_share_of_noise(strength: float) -> None:
    x = textured((96, 96), channels=1)
    band = HighBand((96, 96), 0.3, bands=1)
    y = replace_high_frequencies(x, profile_of(x), band, strength, white_noise((1, 96, 96), [1]))
    a, b = (band.spectrum(v) for v in (x, y))
    correlation = band.mean((a * b.conj()).real) / (band.power(a) * band.power(b)).sqrt()
    assert float(correlation) == pytest.approx(math.sqrt(1 - strength**2), abs=0.05)


@pytest.mark.parametrize("bands", [None, 1, 6])
@pytest.mark.parametrize("shape", SHAPES)
def test_imposed_powers_are_exact(shape: tuple[int, ...], bands: int | None) -> None:
    x = textured(shape)
    drawn = torch.linspace(-2, -4, 30).expand(2, 30)
    band = HighBand(shape, 0.25, bands)
    y = impose_profile(x, drawn, band)
    # the smooth component is left as it was; measured without it, each band has the profile's power
    smooth = periodic_plus_smooth(x, len(shape))[1]
    periodic = torch.fft.rfftn((y.double() - smooth), dim=tuple(range(2, x.ndim)), norm="ortho")
    assert torch.allclose(band.power(periodic.flatten(2))[0], band.target_power(drawn), rtol=1e-4)


def test_imposing_an_images_own_powers_changes_nothing() -> None:
    x = textured((48, 48))
    band = HighBand((48, 48), 0.25, bands=1)
    own = band.power(band.spectrum(x))[0].log10()
    y = impose_profile(x, own.float().expand(2, 10) if own.shape[-1] == 10 else own.float().repeat(1, 10), band)
    assert torch.allclose(x, y, atol=1e-5)


def test_slices_keep_their_share_of_a_volumes_power() -> None:
    x = textured((32, 32), batch=4, channels=1)
    x[2] = 0.5 + (x[2] - 0.5) * 0.1
    band = HighBand((32, 32), 0.3)
    before = band.power(band.spectrum(x)).mean(-1)[:, 0]
    noise = white_noise((1, 32, 32), [1, 2, 3, 4])
    for y in (
        replace_high_frequencies(x, torch.full((1, 9), -3.0), band, 0.7, noise),
        impose_profile(x, torch.full((1, 9), -3.0), band),
    ):
        after = band.power(band.spectrum(y)).mean(-1)[:, 0]
        assert torch.allclose(after / after.sum(), before / before.sum(), rtol=0.25)
        assert float(after.mean()) == pytest.approx(1e-3, rel=0.02)


def test_an_empty_high_band_is_filled_with_noise_or_left() -> None:
    x = torch.full((1, 1, 32, 32), 0.5)
    band = HighBand((32, 32), 0.5)
    drawn = torch.full((1, 12), -4.0)
    filled = replace_high_frequencies(x, drawn, band, 0.5, white_noise((1, 32, 32), [3]))
    assert torch.isfinite(filled).all()
    assert float(band.power(band.spectrum(filled)).mean()) == pytest.approx(1e-4, rel=0.05)
    assert torch.allclose(impose_profile(x, drawn, band), x, atol=1e-6)


def test_rescaled_amplitudes_have_the_drawn_statistics() -> None:
    x = textured((64, 64), channels=1)
    band = HighBand((64, 64), 0.5, bands=1)
    amplitude = band.spectrum(x).abs().double()
    mean = band.mean(amplitude)[0] + 0.05
    std = (band.mean(amplitude.square()) - band.mean(amplitude).square()).sqrt()[0] * 0.5
    y = rescale_amplitudes(x, mean, std, band)
    smooth = periodic_plus_smooth(x, 2)[1]
    got = rfftn((y - smooth).double(), 2).flatten(2).abs()
    # negative amplitudes become 0, which lifts the mean and narrows the spread a little
    assert torch.allclose(band.mean(got)[0], mean, rtol=2e-2)
    assert torch.allclose((band.mean(got.square()) - band.mean(got).square()).sqrt()[0], std, rtol=0.1)


def test_a_profile_serves_any_size() -> None:
    large, small = textured((96, 96), channels=1), textured((32, 32), channels=1)
    drawn = profile_of(large)
    band = HighBand((32, 32), 0.3, bands=1)
    y = impose_profile(small, drawn, band)
    expected = HighBand((96, 96), 0.3, bands=1).target_power(drawn)
    assert torch.allclose(band.power(band.spectrum(y))[0], expected, rtol=0.1)


def reference(x: torch.Tensor, profile: np.ndarray, mask_ratio: float, strength: float, noise: np.ndarray | None):
    """Replacing (with ``noise``) or imposing (without) by numpy, in float64, over the full spectrum."""
    shape, dims = x.shape[2:], x.ndim - 2
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(n) * 2 for n in shape], indexing="ij")))
    # rounded, as frerec.spectrum.radius is: a coefficient may lie on the edge of a ring
    radius = radius.astype(np.float32).astype(np.float64)
    high = radius >= mask_ratio
    rings = round(math.sqrt(dims) * min(shape) / 2)
    ring = np.floor(radius * rings / math.sqrt(dims) + 1e-6).astype(int)
    centres = (np.arange(profile.shape[-1]) + 0.5) * math.sqrt(dims) / profile.shape[-1]
    axes = tuple(range(2, x.ndim))

    def transform(image: np.ndarray) -> np.ndarray:
        periodic = periodic_plus_smooth(torch.from_numpy(image), dims)[0].numpy()
        return np.fft.fftn(periodic, axes=axes, norm="ortho")

    image = x.numpy().astype(np.float64)
    own = transform(image)
    drawn = None if noise is None else transform(noise.astype(np.float64))
    change = np.zeros_like(own)
    for channel in range(x.shape[1]):
        wanted = 10 ** np.interp(radius, centres, profile[channel])
        for k in np.unique(ring[high]):
            at = high & (ring == k)
            own_k = own[:, channel, at]
            powers = (np.abs(own_k) ** 2).mean(1, keepdims=True)
            if drawn is None:
                new = own_k * np.sqrt(wanted[at].mean() / powers.mean())
            else:
                noise_k = drawn[:, channel, at]
                mixed = math.sqrt(1 - strength**2) * own_k / np.sqrt(powers)
                mixed = mixed + strength * noise_k / np.sqrt((np.abs(noise_k) ** 2).mean(1, keepdims=True))
                mixed = mixed / np.sqrt((np.abs(mixed) ** 2).mean(1, keepdims=True))
                new = mixed * np.sqrt(wanted[at].mean() * powers / powers.mean())
            change[:, channel, at] = new - own_k
    return image + np.fft.ifftn(change, axes=axes, norm="ortho").real


@pytest.mark.parametrize(
    ("shape", "batch", "channels"),
    [((64, 64), 1, 1), ((97, 64), 1, 3), ((64, 81), 1, 1), ((51, 49), 3, 1), ((256, 256), 1, 1), ((14, 12, 9), 1, 2)],
)
@pytest.mark.parametrize("strength", [0.3, 0.9, None])
def test_equals_the_method_in_double_precision(
    shape: tuple[int, ...], batch: int, channels: int, strength: float | None
) -> None:
    x = textured(shape, batch, channels)
    profile = torch.linspace(-2, -5, 45).expand(channels, 45) + torch.arange(channels).unsqueeze(1) * 0.2
    band, noise = HighBand(shape, 0.25), white_noise((channels, *shape), range(batch))
    if strength is None:
        found, wanted = impose_profile(x, profile, band), reference(x, profile.double().numpy(), 0.25, 0, None)
    else:
        found = replace_high_frequencies(x, profile, band, strength, noise)
        wanted = reference(x, profile.double().numpy(), 0.25, strength, noise.numpy())
    assert found.dtype == torch.float32
    # float32 stores values of order 1 to 6e-8
    assert np.abs(found.numpy() - wanted).max() < 1e-6


def test_what_is_not_in_the_high_band_is_not_touched() -> None:
    x = textured((64, 64))
    band = HighBand((64, 64), 0.5)
    own = band.power(band.spectrum(x))
    # a profile with the powers the image has in every band changes nothing, to the bit
    assert torch.equal(band.add(x, band.spectrum(x) * band.spread(torch.zeros_like(own).float())), x)


@pytest.mark.parametrize(("name", "arguments"), [("mask_ratio", (1.5, None)), ("bands", (0.5, 0))])
def test_what_is_out_of_range_is_named(name: str, arguments: tuple) -> None:
    with pytest.raises(ConfigError, match=name):
        HighBand((16, 16), *arguments)


def test_the_share_of_noise_rises_smoothly() -> None:
    band = HighBand((64, 64), 0.2)
    share = band.share(0.8, 0.4, 0.2)
    assert (share.diff() >= 0).all() and 0 <= float(share[0]) < 0.01
    assert float(share[-1]) == pytest.approx(0.8) and float(share.diff().max()) < 0.1
    assert torch.equal(band.share(0.8, 0.0, 0.2), torch.full_like(share, 0.8))


def test_what_a_generator_lost_is_filled_with_noise_not_amplified() -> None:
    x = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    band = HighBand((64, 64), 0.2)
    profile = radial_power(x, 2)[0]
    faint = x.mean() + (x - x.mean()) * 0.01  # its own amplitudes would have to be raised by a hundred
    noise = white_noise((1, 64, 64), [4])

    def correlation(**settings: float) -> float:
        out = replace_high_frequencies(faint, profile, band, 0.3, noise, **settings)
        new, old = (band.spectrum(image).flatten()[band.inside] for image in (out, x))
        assert float(new.abs().square().mean() / old.abs().square().mean()) == pytest.approx(1, abs=0.05)
        return float((new * old.conj()).real.sum() / (new.abs().norm() * old.abs().norm()))

    assert correlation() > 0.9
    assert abs(correlation(max_gain=2.0)) < 0.1
    assert correlation(max_gain=200.0) > 0.9


def test_a_profile_is_that_of_the_stored_image() -> None:
    slope = torch.linspace(0, 1, 64)
    x = 0.4 + 0.2 * slope[:, None] * slope + 0.0016 * white_noise((1, 64, 64), [2])
    band = HighBand((64, 64), 0.2)
    rounding = math.log10(1 / 255**2 / 12)
    profile = torch.full((1, 91), rounding + 0.3)  # hardly more power than rounding alone

    def store(values: torch.Tensor) -> torch.Tensor:
        return (values.clamp(0, 1) * 255).round() / 255

    def error(imposed: torch.Tensor) -> float:
        power = band.power(band.spectrum(store(imposed))).mean(0)
        return float((power / band.target_power(profile)).log10().abs().mean())

    assert error(impose_profile(x, profile, band)) > 0.1
    assert error(impose_profile(x, profile, band, store)) < 0.05
