"""The autoencoder's shapes, its standardised latent, and that it learns."""

from __future__ import annotations

import pytest
import torch

from frerec.generation.autoencoder import LatentAutoencoder


def small(**arguments: object) -> LatentAutoencoder:
    torch.manual_seed(0)
    return LatentAutoencoder(channels=(16, 24), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(channels: int) -> None:
    model = small(in_channels=channels).eval()
    x = torch.rand(2, channels, 64, 96)
    z = model.encode(x)
    assert model.factor == 16
    assert z.shape == (2, model.latent_channels, 4, 6)
    assert model.decode(z).shape == x.shape
    assert torch.equal(model(x), model.decode(z))


def test_codes_are_standardised_in_training() -> None:
    model = small().train()
    code = model.unfold(model.encode(torch.rand(8, 1, 64, 64)))
    assert code.mean((0, 2, 3)).abs().max() < 1e-4
    assert (code.std((0, 2, 3)) - 1).abs().max() < 0.01


def test_noise_enters_in_training_only() -> None:
    model, x = small(), torch.rand(4, 1, 32, 32)
    assert not torch.equal(model.train()(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_a_few_steps_lower_the_loss() -> None:
    model = small().train()
    ramp = torch.linspace(0, 1, 32)
    x = torch.stack([ramp.expand(32, 32), ramp.expand(32, 32).T, ramp.flip(0).expand(32, 32)])[:, None]
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    losses = []
    for _ in range(30):
        loss = (model(x) - x).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
