"""Labels to indices and images to latents."""

from __future__ import annotations

import pytest
import torch

from frerec.errors import ConfigError
from frerec.generation.autoencoder import LatentAutoencoder
from frerec.generation.transforms import EncodeLatentd, LabelToIndexd


def test_labels() -> None:
    transform = LabelToIndexd("label", ["x", "y"])
    assert transform({"label": "y", "other": 1}) == {"label": 1, "other": 1}
    with pytest.raises(ConfigError, match="'z'"):
        transform({"label": "z"})


def test_latents_are_those_of_the_autoencoder_in_evaluation() -> None:
    model = LatentAutoencoder(channels=(16, 24)).train()
    image = torch.rand(1, 32, 32)
    data = EncodeLatentd("image", model)({"image": image, "label": 0})
    assert set(data) == {"latent", "label"}
    with torch.no_grad():
        assert torch.equal(data["latent"], model.eval().encode(image[None])[0])
