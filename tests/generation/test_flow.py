"""The flow's training target, and a generator that draws the same image from the same seed."""

from __future__ import annotations

import pytest
import torch

from frerec.errors import ConfigError
from frerec.generation.autoencoder import LatentAutoencoder
from frerec.generation.flow import TRAIN_TIMESTEPS, FlowPrepareBatch, LatentGenerator
from frerec.generation.source import GaussianSource


def small(steps: int = 4, guidance: float = 1.5) -> LatentGenerator:
    torch.manual_seed(0)
    return LatentGenerator(
        LatentAutoencoder(channels=(16, 24)),
        ["a", "b"],
        image_size=(32, 64),
        channels=(16, 32),
        n_components=3,
        steps=steps,
        guidance=guidance,
        temperature=1.0,
    ).eval()


def test_velocity_is_the_straight_line_from_source_to_latent() -> None:
    torch.manual_seed(0)
    prepare = FlowPrepareBatch(GaussianSource((4, 2, 2), 3), num_classes=2, label_dropout=0.5)
    latent, label = torch.randn(64, 4, 2, 2), torch.randint(2, (64,))
    noisy, velocity, _, inputs = prepare({"latent": latent, "label": label})
    time = (inputs["timesteps"] / TRAIN_TIMESTEPS).view(-1, 1, 1, 1)
    assert torch.allclose(noisy + time * velocity, latent, atol=1e-5)
    assert 0 < float(time.min()) < float(time.max()) < 1
    dropped = inputs["class_labels"] == 2
    assert 10 < int(dropped.sum()) < 54
    assert torch.equal(inputs["class_labels"][~dropped], label[~dropped])


def test_following_the_true_velocity_arrives() -> None:
    """With the exact velocity field of a single latent, the sampler must end on that latent's image."""
    generator = small(steps=10, guidance=1.0)
    wanted = torch.randn(1, generator.autoencoder.latent_channels, 2, 4)

    class TrueFlow(torch.nn.Module):
        def forward(self, x: torch.Tensor, time: torch.Tensor, class_labels: torch.Tensor) -> torch.Tensor:
            return (wanted - x) / (time.view(-1, 1, 1, 1) / TRAIN_TIMESTEPS)

    generator.flow = TrueFlow()  # type: ignore[assignment]
    with torch.no_grad():
        expected = generator.autoencoder.decode(wanted).clamp(0, 1)
    assert torch.allclose(generator.sample([0], [3]), expected, atol=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_an_image_depends_on_its_seed_and_label_alone(guidance: float) -> None:
    generator = small(guidance=guidance)
    torch.nn.init.normal_(generator.flow.out[2].conv.weight, std=0.1)
    together = generator.sample([0, 1, 1], [5, 6, 7])
    assert together.shape == (3, 1, 32, 64)
    assert float(together.min()) >= 0
    assert float(together.max()) <= 1
    for i, (label, seed) in enumerate([(0, 5), (1, 6), (1, 7)]):
        assert torch.equal(generator.sample([label], [seed])[0], together[i])
    assert not torch.equal(together[1], together[2])


def test_a_size_the_grid_cannot_hold() -> None:
    with pytest.raises(ConfigError, match="image_size"):
        LatentGenerator(LatentAutoencoder(channels=(16, 24)), ["a"], image_size=(48, 48))
