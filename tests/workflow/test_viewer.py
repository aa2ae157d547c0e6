from __future__ import annotations

import torch
from monai.data import MetaTensor

from frerec.workflow.viewer import ViewerLayoutd


def laid_out(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    image = MetaTensor(torch.rand(shape))
    out = ViewerLayoutd("pred")({"image": image, "pred": image.as_tensor()})
    return image.as_tensor(), out["pred"], list(out["image"].meta["spatial_shape"])


def test_gray_picture_becomes_x_first() -> None:
    image, out, shape = laid_out((1, 5, 7))
    assert torch.equal(out, image[0].T)
    assert shape == [7, 5]


def test_colour_picture_keeps_its_channels_last() -> None:
    image, out, _ = laid_out((3, 5, 7))
    assert out.shape == (7, 5, 3)
    assert torch.equal(out[..., 1], image[1].T)


def test_volume_keeps_the_axes_of_its_affine() -> None:
    image, out, shape = laid_out((1, 5, 7, 4))
    assert torch.equal(out, image[0])
    assert shape == [5, 7, 4]
