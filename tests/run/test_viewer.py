from __future__ import annotations

from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from frerec.io.loader import LoadMedicalImage
from frerec.run.viewer import Answering, RefuseWrongSettings, ViewerLayoutd


def laid_out(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, MetaTensor]:
    affine = np.array([[0.0, -2, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
    image = MetaTensor(torch.rand(shape), meta={"original_affine": affine})
    before = image.meta.copy()
    out = ViewerLayoutd("pred")({"image": image, "pred": image.as_tensor()})
    assert image.meta.keys() == before.keys(), "the input keeps its own metadata"
    return image.as_tensor(), out["pred"], out["image"]


def test_gray_picture_becomes_x_first() -> None:
    image, out, reference = laid_out((1, 5, 7))
    assert torch.equal(out, image[0].T)
    assert list(reference.meta["spatial_shape"]) == [7, 5]


def test_colour_picture_keeps_its_channels_last() -> None:
    image, out, _ = laid_out((3, 5, 7))
    assert out.shape == (7, 5, 3)
    assert torch.equal(out[..., 1], image[1].T)


def test_volume_and_its_affine_turn_together() -> None:
    image, out, reference = laid_out((1, 5, 7, 4))
    assert torch.equal(out, image[0].permute(1, 0, 2))
    assert list(reference.meta["spatial_shape"]) == [7, 5, 4]
    # row 2, column 3, slice 1 lies where it lay
    assert np.array_equal(reference.meta["original_affine"] @ [3, 2, 1, 1], [5 - 2 * 3, 6 + 3 * 2, 7 + 4, 1])


def loaded(path: Path, **entries: Any) -> dict[Any, Any]:
    """What comes out for the image in a file that is not changed."""
    image = LoadMedicalImage()(path)
    return ViewerLayoutd("pred")({"image": image, "pred": image.as_tensor(), **entries})


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1)])
def test_an_image_that_lies_in_space_keeps_a_third_axis_for_its_affine(tmp_path: Path, shape: tuple[int, ...]) -> None:
    affine = np.array([[-0.6, 0.8, 0, 10], [0.8, 0.6, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
    values = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "a.nii.gz")
    out = loaded(tmp_path / "a.nii.gz")
    assert np.array_equal(out["pred"].numpy(), values.reshape(7, 5, 1))
    assert list(out["image"].meta["spatial_shape"]) == [7, 5, 1]
    np.testing.assert_allclose(out["image"].meta["original_affine"], affine, atol=1e-6)


@pytest.mark.parametrize(("colours", "shape"), [((), (7, 5)), ((3,), (7, 5, 3))])
def test_a_picture_lies_as_itk_lays_it(tmp_path: Path, colours: tuple[int, ...], shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, *colours), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    out = loaded(tmp_path / "a.png")
    assert np.array_equal(out["pred"].numpy(), pixels.swapaxes(0, 1)) and out["pred"].shape == shape
    itk_image = itk.imread(str(tmp_path / "a.png"))
    direction = np.diag([-1, -1]) @ itk.array_from_matrix(itk_image.GetDirection())  # LPS to RAS
    assert np.array_equal(out["image"].meta["original_affine"][:2, :2], direction)


@pytest.mark.parametrize(("dtype", "expected"), [("uint8", [0, 254, 255]), ("int16", [-700, 254, 3000])])
def test_values_are_rounded_and_clipped_to_the_type_a_client_asks_for(dtype: str, expected: list[int]) -> None:
    values = torch.tensor([[[-700.2, 253.7, 3000.4]]])
    out = ViewerLayoutd("pred")({"image": MetaTensor(values, meta={"original_affine": np.eye(4)}), "pred": values,
                                 "result_dtype": dtype})  # fmt: skip
    assert out["pred"].numpy().astype(dtype)[:, 0].tolist() == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [("strength", "0.5"), ("strength", 5), ("strength", None), ("mask_ratio", 0), ("seed", -1), ("max_gain", 0.5),
     ("intensity_range", "wide"), ("impose_profile", "yes"), ("result_dtype", "lots"), ("result_dtype", "U8")],
)  # fmt: skip
def test_a_wrong_setting_is_answered_in_one_line(name: str, value: Any) -> None:
    good = {"result_extension": ".nii.gz", "result_dtype": "uint8", "strength": 0.5, "seed": 3, "impose_profile": True}
    data = {"image": 1}
    assert Answering(RefuseWrongSettings(good))(data) is data
    with pytest.raises(Exception, match=rf"^(400: )?{name}={value!r}: \w.*\. \w.*\.$") as refused:
        Answering(RefuseWrongSettings({**good, name: value}))(data)
    assert type(refused.value).__name__ in ("HTTPException", "ConfigError")


def test_only_what_a_client_can_mend_is_an_answer() -> None:
    def fails(_data: Any) -> None:
        raise ZeroDivisionError("a fault of ours")

    with pytest.raises(ZeroDivisionError):
        Answering(fails)({})
