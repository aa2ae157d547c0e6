"""The cheap alternatives do what they say, and nothing more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from skimage.exposure import match_histograms

from frerec.errors import ConfigError, FreRecError
from frerec.study.baselines import ClassicalAugmentation, MatchHistogram, MixAmplitude, References
from frerec.study.cache import fingerprint


def references(channels: int = 1, size: tuple[int, int] = (21, 30)) -> References:
    images = torch.rand(6, channels, *size, generator=torch.Generator().manual_seed(0))
    return References([0, 1] * 3, [f"real{i}" for i in range(6)], lambda: images)


def item(channels: int = 1, size: tuple[int, int] = (21, 30), name: str = "made", label: int = 1) -> dict[str, Any]:
    image = 0.3 + 0.4 * torch.rand(channels, *size, generator=torch.Generator().manual_seed(1))
    return {"image": image, "label": label, "name": name}


def amplitude(image: torch.Tensor) -> np.ndarray:
    return np.abs(np.fft.fft2(image.double().numpy(), norm="ortho"))


def full_radius(size: tuple[int, int]) -> np.ndarray:
    down, across = (np.fft.fftfreq(n) * 2 for n in size)
    return np.hypot(down[:, None], across)


def test_references_are_of_the_same_class_and_never_the_image_itself() -> None:
    pool = references()
    images = pool.choose(item(), "random", "x"), pool.choose(item(name="real1"), "random", "x")
    everything = pool._load()
    for chosen in images:
        assert any(torch.equal(chosen, everything[i]) for i in (1, 3, 5))
    seen = {
        i
        for n in range(60)
        for i in range(6)
        if torch.equal(pool.choose(item(name=str(n)), "random", "x"), everything[i])
    }
    assert seen == {1, 3, 5}
    for n in range(20):
        assert not torch.equal(pool.choose(item(name="real1"), "random", str(n)), everything[1])


def test_the_nearest_reference_is_the_most_similar_one() -> None:
    pool = references(size=(32, 32))
    target = pool._load()[3]
    near = {**item(size=(32, 32)), "image": target + 0.02}
    assert torch.equal(pool.choose(near, "nearest", "x"), target)
    # The image itself, were it in the pool, is left out.
    assert not torch.equal(pool.choose({**near, "name": "real3"}, "nearest", "x"), target)


@pytest.mark.parametrize("channels", [1, 3])
def test_histogram_matching_is_scikit_images(channels: int) -> None:
    transform, pool, data = MatchHistogram(), references(channels), item(channels)
    transform.set_references(pool)
    found = transform(data)
    target = pool.choose(data, "random", "MatchHistogram").numpy()
    np.testing.assert_array_equal(found, match_histograms(data["image"].numpy(), target, channel_axis=0))
    # Each channel has the values of the real image, up to interpolation.
    np.testing.assert_allclose(np.sort(found.flatten(1)), np.sort(target.reshape(channels, -1)), atol=0.02)


@pytest.mark.parametrize("size", [(21, 30), (16, 16), (17, 17)])
@pytest.mark.parametrize(("band", "limit"), [("low", 0.2), ("high", 0.5)])
def test_mixed_amplitudes_are_the_real_ones_in_the_band_alone(size: tuple[int, int], band: str, limit: float) -> None:
    transform, pool, data = MixAmplitude(band, limit), references(3, size), item(3, size)
    transform.set_references(pool)
    found = transform(data)
    target = pool.choose(data, "random", "MixAmplitude")
    inside = full_radius(size) <= limit if band == "low" else full_radius(size) > limit
    np.testing.assert_allclose(amplitude(found)[:, inside], amplitude(target)[:, inside], atol=2e-5)
    np.testing.assert_allclose(amplitude(found)[:, ~inside], amplitude(data["image"])[:, ~inside], atol=2e-5)
    # Against the full complex transform: the same image, without an imaginary residue.
    spectrum = np.fft.fft2(data["image"].double().numpy(), norm="ortho")
    mixed = np.where(inside, amplitude(target), np.abs(spectrum)) * np.exp(1j * np.angle(spectrum))
    whole = np.fft.ifft2(mixed, norm="ortho")
    assert np.abs(whole.imag).max() < 1e-12
    np.testing.assert_allclose(found, whole.real, atol=2e-5)


def test_no_share_changes_nothing_and_half_a_share_half_the_amplitude() -> None:
    data, pool = item(), references()
    results = {}
    for share in (0.0, 0.5, 1.0):
        transform = MixAmplitude("high", 0.3, share)
        transform.set_references(pool)
        results[share] = transform(data)
    torch.testing.assert_close(results[0.0], data["image"], atol=1e-6, rtol=0)
    torch.testing.assert_close(results[0.5], (results[0.0] + results[1.0]) / 2, atol=1e-5, rtol=0)


def test_the_same_image_gives_the_same_result() -> None:
    for kind in (MatchHistogram, MixAmplitude):
        first, second = kind(), kind()
        first.set_references(references())
        second.set_references(references())
        second(item(name="another"))
        assert torch.equal(first(item()), second(item()))


def test_references_belong_to_the_fingerprint() -> None:
    transform = MatchHistogram()
    before = fingerprint(transform)
    transform.set_references(references())
    after = fingerprint(transform)
    assert before != after
    transform(item())
    assert fingerprint(transform) == after


def test_wrong_settings_are_refused() -> None:
    for wrong in (lambda: MatchHistogram("best"), lambda: MixAmplitude("middle"), lambda: MixAmplitude(share=2)):
        with pytest.raises(ConfigError):
            wrong()
    with pytest.raises(FreRecError, match="no real images"):
        MatchHistogram()(item())


def test_augmentation_without_strength_is_the_identity() -> None:
    batch = torch.rand(5, 1, 12, 18)
    still = ClassicalAugmentation(flip=0, rotation=0, scale=0, shift=0, contrast=0, brightness=0)
    torch.testing.assert_close(still(batch, torch.Generator()), batch, atol=1e-5, rtol=0)
    mirrored = ClassicalAugmentation(flip=1, rotation=0, scale=0, shift=0, contrast=0, brightness=0)
    torch.testing.assert_close(mirrored(batch, torch.Generator()), batch.flip(-1), atol=1e-5, rtol=0)


def test_augmentation_is_seeded_bounded_and_rotates_without_shear() -> None:
    batch = torch.rand(4, 3, 16, 16)
    augment = ClassicalAugmentation()
    one, two, other = (augment(batch, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert one.min() >= 0 and one.max() <= 1
    # A disc in the middle of an image that is not square stays one under any rotation.
    down, across = torch.meshgrid(torch.arange(41) - 20.0, torch.arange(61) - 30.0, indexing="ij")
    disc = (down.hypot(across) < 12).float().expand(8, 1, 41, 61)
    turned = ClassicalAugmentation(0, 90, 0, 0, 0, 0)(disc, torch.Generator().manual_seed(0))
    assert (turned - disc).abs().mean() < 0.02
