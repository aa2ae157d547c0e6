from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor

from frerec.run.viewer import ViewerLayoutd


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
