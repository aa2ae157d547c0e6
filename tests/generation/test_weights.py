"""Weights of a generator come back as they were saved, and a file that is not one is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from frerec.errors import InputError
from frerec.generation.diffusion import PixelDiffusion
from frerec.generation.weights import load_generator_weights, save_generator_weights


def small() -> PixelDiffusion:
    torch.manual_seed(0)
    return PixelDiffusion(
        ["a", "b"], image_size=(16, 16), channels=(16, 32), attention_levels=(False, True), n_components=3, steps=4
    )


def test_weights_come_back(tmp_path: Path) -> None:
    generator = small()
    save_generator_weights(generator, tmp_path / "g")
    saved = torch.load(tmp_path / "g", weights_only=True)
    assert {value.dtype for value in saved.values() if value.is_floating_point()} == {torch.float16}
    other = load_generator_weights(small(), tmp_path / "g")
    assert torch.allclose(other.sample([0], [1]), generator.sample([0], [1]), atol=1e-2)
    assert not other.training


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such weights"):
        load_generator_weights(small(), tmp_path / "none.pt")
    (tmp_path / "broken.pt").write_bytes(b"not a file of torch")
    with pytest.raises(InputError, match="not weights of this generator"):
        load_generator_weights(small(), tmp_path / "broken.pt")
