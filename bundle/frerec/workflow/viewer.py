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

    Label writers take arrays without a channel axis whose first axis is x. Our pictures are (C, H, W), rows first, so
    a gray one becomes (W, H). Volumes carry an affine that belongs to their axes and keep these: (H, W, D). Colour
    pictures become (W, H, 3). The reference image's ``spatial_shape`` is set to match, because Label's ``Restored``
    resizes whatever differs from it.

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
            plain = image.as_tensor() if isinstance(image, MetaTensor) else image
            if plain.ndim == 3:
                plain = plain.permute(2, 1, 0)
                plain = plain[..., 0] if plain.shape[-1] == 1 else plain
            elif plain.shape[0] == 1:
                plain = plain[0]
            result[key] = plain.contiguous()
            reference = result.get(self.reference_key)
            if isinstance(reference, MetaTensor):
                reference.meta["spatial_shape"] = np.asarray(plain.shape)
        return result
