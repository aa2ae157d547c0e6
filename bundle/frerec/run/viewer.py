"""The array layout that image viewers behind a MONAI server expect."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform


class ViewerLayoutd(MapTransform):
    """Bring a result into the layout in which MONAI Label writes and shows arrays.

    Label's writers take arrays without a channel axis whose first axis is x. Ours are (C, H, W) or (C, H, W, D), rows
    first. So a gray picture becomes (W, H), a colour one (W, H, 3), and a gray volume (W, H, D). What the writers read
    in the reference image's metadata is set to match: ``spatial_shape``, because Label's ``Restored`` resizes
    whatever differs from it, and ``original_affine``.

    Args:
        keys: results, (C, H, W) or (C, H, W, D).
        reference_key: the input image, whose metadata a viewer's writer looks at.
        allow_missing_keys: as in MONAI.
    """

    def __init__(self, keys: KeysCollection, reference_key: str = "image", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference_key = reference_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the results laid out anew, as plain tensors."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = torch.as_tensor(result[key])
            plain = (image.as_tensor() if isinstance(image, MetaTensor) else image).transpose(1, 2)
            if plain.shape[0] == 1:
                plain = plain[0]
            elif plain.ndim == 3:
                plain = plain.movedim(0, -1)
            result[key] = plain.contiguous()
            reference = result.get(self.reference_key)
            if isinstance(reference, MetaTensor):
                affine = np.asarray(reference.meta["original_affine"])
                swapped = {"spatial_shape": np.asarray(plain.shape), "original_affine": affine[:, [1, 0, 2, 3]]}
                result[self.reference_key] = MetaTensor(reference, meta={**reference.meta, **swapped})
        return result
