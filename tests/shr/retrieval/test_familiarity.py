"""An image of the bank's kind is familiar, blurred or not; another kind is not, and the manifest would say so."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import GaussianSmooth

from frerec.errors import FreRecError
from frerec.io.records import applied_to
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.retrieval.descriptor import BlurFreeSpace, blur_direction, descriptor
from frerec.shr.retrieval.familiarity import (
    FAMILIAR,
    FOREIGNER,
    LIMIT,
    UNUSUAL,
    Familiarity,
    WarnUnfamiliard,
    grade,
)


@pytest.fixture(scope="module")
def chest_bank(chest_images: tuple[torch.Tensor, torch.Tensor]) -> ReferenceBank:
    return ReferenceBank.build(list(chest_images[0]))


def test_the_distance_is_that_of_a_brute_force_search(
    chest_bank: ReferenceBank, chest_images: tuple[torch.Tensor, torch.Tensor]
) -> None:
    info, (train, test) = chest_bank.info, chest_images
    table = torch.stack([descriptor(x[None], 2, info.descriptor)[0] for x in train])
    space = BlurFreeSpace(table, blur_direction(info.image_size, 1, info.descriptor))
    own = [
        min(float((space(a) - space(b)).square().mean().sqrt()) for j, b in enumerate(table) if j != i)
        for i, a in enumerate(table)
    ]
    query = space(descriptor(test[:1], 2, info.descriptor)[0])
    nearest = min(float((query - space(b)).square().mean().sqrt()) for b in table)
    assert math.isclose(Familiarity(chest_bank)(test[0]), nearest / float(np.quantile(own, 0.99)), rel_tol=1e-4)


def test_chests_are_familiar_to_chests_and_other_things_are_not(
    chest_bank: ReferenceBank, chest_images: tuple[torch.Tensor, torch.Tensor]
) -> None:
    measure, (_, test) = Familiarity(chest_bank), chest_images
    assert max(measure(x) for x in test) < LIMIT
    assert max(measure(GaussianSmooth(1.5)(x)) for x in test) < LIMIT
    rows = torch.linspace(0, 60, 128).sin().mul(0.5).add(0.5).expand(1, 128, 128)
    assert min(measure(x) for x in (rows, torch.full((1, 128, 128), 0.5))) > LIMIT


def test_a_sample_of_a_large_bank_says_the_same(
    chest_bank: ReferenceBank, chest_images: tuple[torch.Tensor, torch.Tensor]
) -> None:
    random = np.random.default_rng(0)
    tensors = {name: np.concatenate([np.asarray(tensor)] * 40) for name, tensor in chest_bank.tensors.items()}
    noise = random.standard_normal(tensors["descriptors"].shape).astype(np.float32)
    tensors["descriptors"] += 0.5 * tensors["descriptors"].std(0) * noise
    tensors["content_hash"] = random.integers(-(2**63), 2**63 - 1, len(noise), dtype=np.int64)
    large = ReferenceBank(chest_bank.info, tensors)
    measure = Familiarity(large)
    # what is looked at is the sample: a bank of that alone gives the same
    alone = ReferenceBank(large.info, {name: tensor[large.sample] for name, tensor in tensors.items()})
    test = chest_images[1]
    assert [measure(x) for x in test] == [Familiarity(alone)(x) for x in test]
    assert [measure(x) for x in test.flip(0)] == [measure(x) for x in test][::-1]
    rows = torch.linspace(0, 60, 128).sin().mul(0.5).add(0.5).expand(1, 128, 128)
    assert max(measure(x) for x in test) < 0.8 * measure(rows)


def test_the_note_travels_with_the_image(
    chest_bank: ReferenceBank, chest_images: tuple[torch.Tensor, torch.Tensor]
) -> None:
    warn = WarnUnfamiliard("image", chest_bank)
    image = MetaTensor(chest_images[1][0], meta={"frerec": {"a": 1}})
    known = warn({"image": image})["image"]
    assert torch.equal(known.as_tensor(), image.as_tensor())
    assert known.meta["frerec"]["a"] == 1
    assert applied_to(known).bank_warning == ""
    assert applied_to(image).bank_grade == ""
    stripes = (torch.arange(128) // 4 % 2).float().expand(1, 128, 128)
    other = warn({"image": stripes})["image"]
    assert "foreign to the reference bank" in applied_to(other).bank_warning
    assert [grade(d) for d in (0.0, 1.25, 1.26, 2.0, 2.01)] == [FAMILIAR, FAMILIAR, UNUSUAL, UNUSUAL, FOREIGNER]


def test_a_bank_of_one_image_has_no_distances(chest_images: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert Familiarity(ReferenceBank.build([chest_images[0][0]]))(chest_images[1][0]) == 0.0


def test_another_number_of_channels_is_refused(chest_bank: ReferenceBank) -> None:
    with pytest.raises(FreRecError, match="channel"):
        Familiarity(chest_bank)(torch.rand(3, 128, 128))
