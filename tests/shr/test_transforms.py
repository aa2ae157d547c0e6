"""Stage 1 as transforms: promises of determinism, exclusion and identity, on small textured images."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import GaussianSmooth

from frerec.errors import ConfigError, FreRecError
from frerec.io.records import Applied, applied_to
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.training import RandStatisticalHighFrequencyReplacementd
from frerec.shr.transforms import (
    ImposeProfile,
    ImposeProfiled,
    StatisticalHighFrequencyReplacement,
    StatisticalHighFrequencyReplacementd,
)
from frerec.spectrum import irfftn, radial_power, radius, rfftn


def images(count: int, shape: tuple[int, ...] = (32, 32), channels: int = 1, seed: int = 0) -> list[torch.Tensor]:
    """Periodic textures whose power falls with frequency, more or less of it, as in images of tissue."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, channels, *shape, generator=generator)
    slope = 1 + torch.rand(count, *[1] * (noise.ndim - 1), generator=generator)
    weight = (radius(shape) + 0.1) ** -slope
    x = irfftn(rfftn(noise, len(shape)) * weight, shape)
    x = x / x.flatten(1).std(1).view(-1, *[1] * (x.ndim - 1))
    return list((0.5 + 0.1 * x).clamp(0, 1))


@pytest.fixture(scope="module")
def bank() -> ReferenceBank:
    return ReferenceBank.build(images(12), groups=[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])


def replacement(bank: ReferenceBank, **arguments: object) -> StatisticalHighFrequencyReplacement:
    return StatisticalHighFrequencyReplacement(bank, **{"top_k": 5, **arguments})  # type: ignore[arg-type]


def test_strength_zero_is_the_identity(bank: ReferenceBank) -> None:
    x = images(1, seed=9)[0]
    y = replacement(bank, strength=0)(x)
    assert torch.equal(torch.as_tensor(y), x)
    assert y.meta["frerec"]["applied"].profile.numel() == 0
    assert torch.equal(ImposeProfile()(x, y.meta["frerec"]["applied"].profile), x)


def test_meta_survives_and_says_what_was_done(bank: ReferenceBank) -> None:
    x = MetaTensor(images(1, seed=9)[0], affine=torch.diag(torch.tensor([2.0, 3, 1, 1])), meta={"frerec": {"a": 1}})
    y = replacement(bank, strength=0.4, seed=3)(x)
    applied = y.meta["frerec"]["applied"].shr
    assert y.meta["frerec"]["a"] == 1
    assert torch.equal(y.affine, x.affine)
    assert (applied["strength"], applied["seed"], applied["bank_sha256"]) == (0.4, 3, bank.sha256)
    assert torch.equal(y.meta["frerec"]["applied"].profile, bank.profiles_of([applied["drawn"]])[0])
    assert applied_to(x).shr == {}


@pytest.mark.parametrize("mode", ["replace", "amplitude"])
def test_same_image_and_seed_give_the_same_and_another_seed_another(bank: ReferenceBank, mode: str) -> None:
    x = images(1, seed=9)[0]
    a, b = (torch.as_tensor(replacement(bank, mode=mode)(x)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, torch.as_tensor(replacement(bank, mode=mode, seed=1)(x)))


@pytest.mark.parametrize("workers", [0, 2])
def test_order_and_workers_do_not_matter(bank: ReferenceBank, workers: int) -> None:
    queries = images(6, seed=5)
    transform = StatisticalHighFrequencyReplacementd("image", bank, top_k=5)
    alone = [torch.as_tensor(transform({"image": q})["image"]) for q in queries]
    reverse = Dataset([{"image": q} for q in queries[::-1]], transform)
    loader = DataLoader(reverse, batch_size=4, num_workers=workers)
    together = torch.cat([torch.as_tensor(batch["image"]) for batch in loader]).flip(0)
    assert torch.equal(together, torch.stack(alone))


def test_an_image_never_draws_from_its_own_patient(bank: ReferenceBank) -> None:
    transform = replacement(bank, top_k=10)
    for index, image in enumerate(images(12)):
        own = {index, index ^ 1}
        drawn = {transform(image, draw=d).meta["frerec"]["applied"].shr["drawn"] for d in range(20)}
        assert not own & drawn
    with pytest.raises(ConfigError, match="top_k"):
        replacement(bank, top_k=12)(images(12)[0])


def test_imposing_brings_the_output_to_the_drawn_profile(bank: ReferenceBank) -> None:
    data = StatisticalHighFrequencyReplacementd("image", bank, mask_ratio=0.3, top_k=5)({"image": images(1, seed=9)[0]})
    data["pred"] = torch.as_tensor(data["image"]) * 0.7 + 0.1
    out = ImposeProfiled("pred", "image", mask_ratio=0.3)(data)["pred"]
    profile = data["image"].meta["frerec"]["applied"].profile
    gap = (radial_power(out, 2) - profile)[..., 8:]
    before = (radial_power(data["pred"], 2) - profile)[..., 8:]
    # not zero: where opposite borders differ, the imposed texture changes the periodic component a little
    assert gap.square().mean().sqrt() < 0.07
    assert before.square().mean().sqrt() > 0.25


def test_clipping_to_8_bit_does_not_undo_the_profile(chest_images: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Smooth images with black surroundings lose most where values below black are cut off."""
    train, test = chest_images
    transform = replacement(ReferenceBank.build(list(train)), top_k=50, strength=0.3, method="random")
    bias = {}
    for limits in ((-math.inf, math.inf), (0.0, 1.0)):
        errors = []
        for x in (GaussianSmooth(2.0)(image - 0.2).clamp(0, 1) for image in test):
            y = transform(x)
            profile = y.meta["frerec"]["applied"].profile
            exact = ImposeProfile()(torch.as_tensor(y), profile)
            stored = (ImposeProfile()(torch.as_tensor(y), profile, limits=limits).clamp(0, 1) * 255).round() / 255
            errors.append((radial_power(stored, 2) - radial_power(exact, 2))[0, 24:40])
        bias[limits] = float(torch.stack(errors).mean().abs())
    assert bias[(0.0, 1.0)] < 0.3 * bias[(-math.inf, math.inf)], bias
    assert bias[(-math.inf, math.inf)] > 0.03


def test_limits_come_from_the_meta_of_the_input(bank: ReferenceBank) -> None:
    x = MetaTensor(
        (images(1, seed=9)[0] * 3 - 1).clamp(0, 1), meta={"frerec": {"applied": Applied(storable=(0.0, 1.0))}}
    )
    data = StatisticalHighFrequencyReplacementd("image", bank, top_k=5)({"image": x})
    data["pred"] = torch.as_tensor(data["image"])
    profile = data["image"].meta["frerec"]["applied"].profile
    expected = ImposeProfile()(data["pred"], profile, limits=(0.0, 1.0))
    assert torch.equal(ImposeProfiled("pred", "image")(data)["pred"], expected)


def test_colour_and_volumes(bank: ReferenceBank) -> None:
    colour = ReferenceBank.build(images(8, channels=3))
    x = images(1, channels=3, seed=4)[0]
    assert replacement(colour)(x).shape == x.shape
    volume = torch.stack(images(6, seed=8), -1)
    y = replacement(bank, strength=0.5)(volume)
    assert y.shape == volume.shape
    assert y.meta["frerec"]["applied"].profile.shape == (1, bank.info.n_rings)
    assert not torch.equal(torch.as_tensor(y[..., 0] - volume[..., 0]), torch.as_tensor(y[..., 1] - volume[..., 1]))
    with pytest.raises(FreRecError, match="channels"):
        replacement(bank)(x)


def test_anisotropic_volumes_with_a_volume_bank() -> None:
    volumes = ReferenceBank.build(images(6, (16, 16, 8)), spatial_dims=3)
    x = MetaTensor(images(1, (16, 16, 8), seed=3)[0], affine=torch.diag(torch.tensor([1.0, 1.0, 3.0, 1.0])))
    data = StatisticalHighFrequencyReplacementd("image", volumes, top_k=3)({"image": x})
    assert data["image"].meta["frerec"]["applied"].spacing == (1.0, 1.0, 3.0)
    image, drawn = torch.as_tensor(data["image"]), data["image"].meta["frerec"]["applied"]
    again = ImposeProfiled("pred", "image", spatial_dims=3)({**data, "pred": image})["pred"]
    isotropic = ImposeProfile(spatial_dims=3)(image, drawn.profile)
    assert (again - image).abs().mean() < 0.5 * (isotropic - image).abs().mean()


def test_training_pairs(bank: ReferenceBank) -> None:
    transform = RandStatisticalHighFrequencyReplacementd("image", replacement(bank), strengths=(0.2, 0.9))
    transform.set_random_state(0)
    x = images(12)[3]
    pairs = [transform({"image": x}) for _ in range(8)]
    assert all(torch.equal(torch.as_tensor(p["label"]), x) for p in pairs)
    applied = [p["image"].meta["frerec"]["applied"].shr for p in pairs]
    assert all(0.2 <= a["strength"] <= 0.9 for a in applied)
    assert len({a["mask_ratio"] for a in applied}) > 1
    assert len({float(p["image"][0, 0, 0]) for p in pairs}) == 8


@pytest.mark.parametrize(
    ("name", "value"),
    [("strength", 1.2), ("mode", "phase"), ("transition", -1.0), ("max_gain", 0.5), ("top_k", 50), ("mask_ratio", 0.0)],
)
def test_what_is_out_of_range_is_named(bank: ReferenceBank, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        replacement(bank, **{name: value})(images(1, seed=2)[0])


def test_values_that_are_no_numbers_are_refused(bank: ReferenceBank) -> None:
    x = images(1, seed=2)[0]
    x[0, 3, 3] = float("nan")
    with pytest.raises(FreRecError, match="NaN"):
        replacement(bank)(x)


def test_a_share_of_training_samples_has_the_settings_of_the_transform_itself(bank: ReferenceBank) -> None:
    plain = replacement(bank, strength=0.7, mask_ratio=0.11, transition=0.13)
    made = {}
    for share in (0.0, 0.5, 1.0):
        draw = RandStatisticalHighFrequencyReplacementd("image", plain, plain_share=share, condition_key="condition")
        draw.set_random_state(0)
        conditions = [draw({"image": images(1, seed=9)[0]})["condition"].tolist() for _ in range(20)]
        made[share] = sum(c == pytest.approx([0.11, 0.13, 0.7]) for c in conditions)
    assert made[0.0] == 0 < made[0.5] < 20 == made[1.0]
