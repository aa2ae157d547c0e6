"""Transforms of the generator's training data."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Resized, SelectItemsd, ToTensord, Transform

from frerec.errors import ConfigError
from frerec.generation.autoencoder import LatentAutoencoder
from frerec.io.intensity import NormalizeRanged
from frerec.io.loader import LoadMedicalImaged


class LabelToIndexd(MapTransform):
    """Replace class names by their index.

    Args:
        keys: keys of labels (str).
        class_names: the classes in the order of their indices.
        allow_missing_keys: as in MONAI.

    Raises:
        ConfigError: a label is not among ``class_names``.
    """

    def __init__(self, keys: KeysCollection, class_names: Sequence[str], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.class_names = list(class_names)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with integer labels."""
        result = dict(data)
        for key in self.key_iterator(result):
            if result[key] not in self.class_names:
                raise ConfigError(
                    "class_names", self.class_names, f"the label {result[key]!r} of the datalist is not among them",
                    "Name every class of the datalist",
                )  # fmt: skip
            result[key] = self.class_names.index(result[key])
        return result


class EncodeLatentd(MapTransform):
    """Encode images into latents with a trained autoencoder, on whatever device it is on.

    Args:
        keys: keys of images (C, H, W) float32 in [0, 1].
        autoencoder: the network; taken as it is when the transform runs.
        output_key: key of the latent (latent_channels, H / factor, W / factor), float32 on the CPU.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self,
        keys: KeysCollection,
        autoencoder: LatentAutoencoder,
        output_key: str = "latent",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.autoencoder, self.output_key = autoencoder, output_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the latent and without the image."""
        result = dict(data)
        device = next(self.autoencoder.parameters()).device
        for key in self.key_iterator(result):
            image = torch.as_tensor(result.pop(key)).float().to(device)
            with torch.no_grad():
                result[self.output_key] = self.autoencoder.eval().encode(image[None])[0].cpu()
        return result


def training_transforms(class_names: Sequence[str], channels: int, image_size: Sequence[int]) -> list[Transform]:
    """How the rows of a datalist become the training images of a generator.

    Args:
        class_names: the classes in the order of their indices.
        channels: channels of an image.
        image_size: height and width images are resized to.

    Returns:
        Transforms of ``{"image": path, "label": name}``, which end in a plain tensor (C, H, W) float32 in [0, 1] and
        the index of its class.
    """
    return [
        LoadMedicalImaged("image", channels=channels),
        NormalizeRanged("image"),
        Resized("image", spatial_size=image_size, anti_aliasing=True),
        LabelToIndexd("label", class_names),
        SelectItemsd(["image", "label"]),
        ToTensord("image", track_meta=False),
    ]
