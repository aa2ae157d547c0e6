"""What generators do to high frequencies, done to real images: the second stage learns to undo it."""

from __future__ import annotations

import io
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform, Transform
from PIL import Image

from frerec.spectrum.cosine import cosine_radius, dctn, idctn


def tilt(x: torch.Tensor, slope: float, start: float) -> torch.Tensor:
    """Attenuate (or, below 0, amplify) by ``slope`` decades of amplitude for each Nyquist beyond radius ``start``.

    Args:
        x: (C, *spatial).
        slope: decades, limited to 1.5 of attenuation and .4 of amplification in total.
        start: in fractions of Nyquist.
    """
    dims = x.ndim - 1
    decades = (slope * (cosine_radius(tuple(x.shape[1:])) - start).clamp(min=0)).clamp(-0.4, 1.5)
    return idctn(dctn(x, dims) * 10**-decades, dims)


def lattice(x: torch.Tensor, factor: int, weight: float) -> torch.Tensor:
    """The steps that upsampling by copied pixels leaves: ``weight`` times what it adds to smooth upsampling."""
    shape = x.shape[1:]
    if min(shape) < 2 * factor:
        return x
    small = F.interpolate(x[None], [max(n // factor, 1) for n in shape], mode="area")
    smooth = "bilinear" if len(shape) == 2 else "trilinear"
    steps = F.interpolate(small, shape, mode="nearest") - F.interpolate(small, shape, mode=smooth, align_corners=False)
    return x + weight * steps[0]


def checkerboard(x: torch.Tensor, weight: float) -> torch.Tensor:
    """The alternation that transposed convolutions leave: a share ``weight`` of the intensity, up and down."""
    parity = torch.stack(torch.meshgrid(*[torch.arange(n) for n in x.shape[1:]], indexing="ij")).sum(0) % 2
    return x * (1 + weight * (1 - 2 * parity.float()))


def jpeg(x: torch.Tensor, quality: int) -> torch.Tensor:
    """Through a JPEG file: (1 or 3, H, W) in [0, 1]; anything else comes back as it is."""
    if x.ndim != 3 or x.shape[0] not in (1, 3):
        return x
    values = (x.clamp(0, 1) * 255).round().byte().movedim(0, -1).numpy()
    stream = io.BytesIO()
    Image.fromarray(values.squeeze(-1) if x.shape[0] == 1 else values).save(stream, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(stream), np.float32) / 255
    return torch.from_numpy(decoded.reshape(values.shape)).movedim(-1, 0).contiguous()


class RandGeneratorFaults(RandomizableTransform, Transform):
    """Faults of generators, drawn anew: smooth or sharp images, lattices, noise floor, JPEG, wrapped dots, rounding.

    Source: the faults measured on the generators of docs/evidence.md; strengths are our choice.

    Args:
        prob: probability that an image gets any.
    """

    def __init__(self, prob: float = 0.8) -> None:
        RandomizableTransform.__init__(self, prob)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return a float32 copy of ``image`` (C, *spatial), [0, 1], with faults."""
        x = torch.as_tensor(image).float()
        self.randomize(None)
        if not self._do_transform:
            return x
        draw = self.R.uniform
        if draw() < 0.8:
            slope = draw(-1.5, 3.0) if draw() < 0.5 else draw(3.0, 10.0)  # the latter as decoders cut off
            x = tilt(x, slope, draw(0, 0.5))
        if draw() < 0.2:
            x = lattice(x, int(2 ** self.R.randint(1, 4)), draw(0.1, 1.0))
        if draw() < 0.15:
            x = checkerboard(x, 10 ** draw(-3, -1.3))
        if draw() < 0.25:
            seed = int(self.R.randint(2**31))
            x = x + 10 ** draw(-3.2, -1.7) * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        if draw() < 0.15:
            x = jpeg(x, int(self.R.randint(40, 96)))
        if draw() < 0.05:
            flat = x.flatten(1).clone()
            dots = self.R.randint(flat.shape[1], size=self.R.randint(1, 12))
            flat[:, dots] = 1 - flat[:, dots]
            x = flat.view(x.shape)
        return (x.clamp(0, 1) * 255).round() / 255 if draw() < 0.8 else x


class RandGeneratorFaultsd(RandomizableTransform, MapTransform):
    """Dictionary form of :class:`RandGeneratorFaults`; the untouched image is kept under another key.

    Args:
        keys: keys of real images.
        target_key: key the untouched image is copied to.
        prob: see the array form.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self, keys: KeysCollection, target_key: str = "label", prob: float = 0.8, allow_missing_keys: bool = False
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self)
        self.faults, self.target_key = RandGeneratorFaults(prob), target_key

    def set_random_state(self, seed: int | None = None, state: Any = None) -> RandGeneratorFaultsd:
        """Seed this transform and the one it applies."""
        super().set_random_state(seed, state)
        self.faults.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with faults in the images and the untouched image beside them."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[self.target_key] = result[key]
            result[key] = self.faults(result[key])
        return result
