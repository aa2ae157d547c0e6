"""Promise: a network trained on crops serves whole images, because its rings and norms know no image size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.networks.nets.restormer import Restormer
from scipy import ndimage

from frerec.rhm.blocks import FESA
from frerec.rhm.network import FreRecNet


def texture(shape: tuple[int, ...], channels: int, seed: int) -> torch.Tensor:
    """Stationary coloured noise, the same process at every size, unit variance; (1, channels, *shape)."""
    noise = np.random.default_rng(seed).normal(size=(channels, *shape))
    return torch.from_numpy(np.stack([ndimage.gaussian_filter(c, 0.8, mode="wrap") for c in noise])).float()[None] * 3


@pytest.mark.parametrize("shape", [(64, 64), (96, 48), (128, 128), (65, 111)])
@torch.no_grad()
def test_the_same_texture_gets_the_same_gates_at_every_size(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    fesa = FESA(2, 8, 16, 2)
    torch.nn.init.normal_(fesa.gate.weight, std=0.5)
    seen: list[torch.Tensor] = []
    original = fesa.ring_gates
    fesa.ring_gates = lambda amplitude: seen.append(original(amplitude)) or seen[-1]  # type: ignore[method-assign]
    for size in ((256, 256), shape):
        fesa(texture(size, 8, seed=1))
    whole, crop = seen
    assert (whole - 1).abs().mean() > 0.1
    # the lowest rings hold few frequencies, whose amplitudes vary from one texture to the next
    assert (whole - crop).abs().mean() < 0.1 * (whole - 1).abs().mean()


@torch.no_grad()
def test_a_crop_is_treated_as_in_its_image_and_better_so_than_by_monais_restormer() -> None:
    torch.manual_seed(0)
    blocks, heads = (1, 1), (1, 2)
    ours = FreRecNet(2, 1, 1, None, blocks, 1, 16, heads, stem_stride=1, wide_decoder=True)
    torch.nn.init.normal_(next(ours.output.parameters()), std=0.05)
    theirs = Restormer(2, 1, 1, 16, blocks, heads, num_refinement_blocks=1)
    # an image whose left half is quiet and whose right half is loud, cut in the quiet half
    image = texture((96, 192), 1, seed=2) / 6 + 0.5
    image[..., 96:] = 0.5 + 3 * (image[..., 96:] - 0.5)
    crop, inner = image[..., :96], np.s_[..., 16:-16, 16:80]
    errors = []
    for net in (ours, theirs):
        added = [net.eval()(x)[inner] - (x[inner] if net is ours else 0) for x in (image, crop)]
        errors.append(((added[0] - added[1]).std() / added[0].std()).item())
    assert errors[0] < 0.15
    assert errors[0] < 0.5 * errors[1]
