from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from frerec.audit.dataset import AuditDataset, central_slice, collate_audit
from frerec.errors import InputError
from frerec.io.ranges import IntensityRange
from frerec.io.records import note


class Shelf:
    """Stands for the reader: images by name, each with its own range."""

    def __init__(self) -> None:
        self.images = {
            "a": (torch.full((1, 4, 6), 0.5), 0.0, 200.0),
            "a recalibrated": (torch.full((1, 4, 6), 0.5), 0.0, 100.0),
            "colour": (torch.zeros(3, 4, 6), 0.0, 1.0),
            "nan": (torch.full((1, 4, 6), torch.nan), 0.0, 1.0),
            "small": (torch.zeros(1, 2, 2), 0.0, 1.0),
        }

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["image"] == "secret":
            raise ValueError("PatientName Doe^John is not a number")
        image, lower, upper = self.images[data["image"]]
        image = MetaTensor(image)
        note(image, normalize=IntensityRange(lower, upper, "given", ""))
        return {"image": image}


def dataset(*items: dict[str, Any]) -> AuditDataset:
    return AuditDataset([{"group": "real", "reference": None, **item} for item in items], Shelf())


def test_a_derived_image_is_put_on_the_range_of_its_input() -> None:
    item = dataset({"image": "a recalibrated", "reference": "a"})[0]
    # 50 of 0 to 100 is a quarter of 0 to 200
    assert torch.allclose(item["pixels"], torch.tensor(0.25))
    assert torch.allclose(item["reference_pixels"], torch.tensor(0.5))
    assert type(item["pixels"]) is torch.Tensor


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"image": "colour"}, "channels"),
        ({"image": "nan"}, "not finite"),
        ({"image": "small", "reference": "a"}, "Recalibrate that input again"),
    ],
)
def test_a_bad_image_becomes_a_reason(item: dict[str, Any], words: str) -> None:
    found = dataset(item)[0]
    assert words in found["error"]
    assert item["image"] in found["error"]


def test_words_of_other_libraries_are_not_passed_on() -> None:
    found = dataset({"image": "secret"})[0]
    assert "Doe" not in found["error"]
    assert "secret: it cannot be read (ValueError)" in found["error"]


def test_images_of_any_size_make_a_batch() -> None:
    data = dataset({"image": "a"}, {"image": "nan"}, {"image": "small"})
    batch = collate_audit([data[i] for i in range(3)], size=8)
    assert batch["image"].shape == (2, 1, 8, 8)
    assert [item["image"] for item in batch["items"]] == ["a", "small"]
    assert [item["image"] for item in batch["errors"]] == ["nan"]
    assert collate_audit([data[1]], size=8)["image"].shape[0] == 0


def test_of_a_volume_the_middle_slice_is_taken() -> None:
    volume = torch.arange(5.0).expand(1, 2, 2, 5)
    assert central_slice(volume, 3).unique().tolist() == [2.0]
    assert central_slice(volume[..., 0], 2).shape == (1, 2, 2)


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(InputError, match="spatial_dims"):
        AuditDataset([], Shelf(), spatial_dims=3).load("a")
