"""The diffusion generator: its training target against the textbook, and a sampler that leaves no noise behind."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from frerec.errors import ConfigError
from frerec.generation.diffusion import TRAIN_TIMESTEPS, DiffusionPrepareBatch, PixelDiffusion


def small(steps: int = 5, guidance: float = 1.0, start: float = 0.5) -> PixelDiffusion:
    torch.manual_seed(0)
    return PixelDiffusion(
        ["a", "b"],
        image_size=(16, 32),
        channels=(16, 32),
        attention_levels=(False, True),
        n_components=3,
        steps=steps,
        guidance=guidance,
        start=start,
    ).eval()


def cosine_alphas() -> np.ndarray:
    """Cumulative alphas of the cosine schedule, by the formula of A. Nichol and P. Dhariwal (2021), offset 0.008."""
    curve = [math.cos((t / TRAIN_TIMESTEPS + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(TRAIN_TIMESTEPS + 1)]
    betas = np.minimum(1 - np.array(curve[1:]) / np.array(curve[:-1]), 0.999)
    return np.cumprod(1 - betas)


def test_the_target_is_v_of_the_cosine_schedule() -> None:
    torch.manual_seed(0)
    prepare = DiffusionPrepareBatch(num_classes=2, start=0.5, label_dropout=0.5)
    image, label = torch.rand(64, 1, 4, 4), torch.randint(2, (64,))
    noisy, v, _, inputs = prepare({"image": image, "label": label})
    time = inputs["timesteps"]
    assert 0 <= int(time.min()) < 100
    assert 400 < int(time.max()) < 500
    alpha = torch.from_numpy(cosine_alphas()[time.numpy()]).float().view(-1, 1, 1, 1)
    # x = a x0 + s n and v = a n - s x0 are solved by x0 = a x - s v
    assert torch.allclose(alpha.sqrt() * noisy - (1 - alpha).sqrt() * v, 2 * image - 1, atol=1e-4)
    noise = (1 - alpha).sqrt() * noisy + alpha.sqrt() * v
    assert abs(float(noise.std()) - 1) < 0.05
    dropped = inputs["class_labels"] == 2
    assert 10 < int(dropped.sum()) < 54
    assert torch.equal(inputs["class_labels"][~dropped], label[~dropped])


@pytest.mark.parametrize(("start", "steps"), [(0.5, 12), (0.5, 25), (0.3, 20), (1.0, 30), (0.01, 25)])
def test_the_true_v_leads_to_the_image(start: float, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all images are one, v is known exactly, and a draw must end on that image with no noise left."""
    generator = small(steps, start=start)
    alphas = torch.from_numpy(cosine_alphas()).float()
    wanted = 0.6 * torch.rand(1, 1, 16, 32) + 0.2
    noisy = [{"image": wanted[0] + 0.01 * torch.randn(1, 16, 32), "label": i % 2} for i in range(6)]
    generator.source.fit(noisy, "image")

    def true_v(x: torch.Tensor, time: torch.Tensor, class_labels: torch.Tensor) -> torch.Tensor:
        a, s = alphas[time.long()].sqrt().view(-1, 1, 1, 1), (1 - alphas[time.long()]).sqrt().view(-1, 1, 1, 1)
        x0 = 2 * wanted - 1
        return a * (x - a * x0) / s - s * x0

    monkeypatch.setattr(generator, "forward", true_v)
    assert torch.allclose(generator.sample([0], [3]), wanted, atol=2e-3)


def test_untrained_it_is_the_best_linear_guess() -> None:
    """With a network that says nothing, v is the linear regression of v on x for white data of variance 1/4."""
    generator = small()
    torch.nn.init.zeros_(generator.net.out[2].conv.weight)
    torch.nn.init.zeros_(generator.net.out[2].conv.bias)
    torch.manual_seed(1)
    x0, noise = 0.5 * torch.randn(4, 1, 16, 32), torch.randn(4, 1, 16, 32)
    for time in (10, 250, 490):
        a, s = (float(part) for part in (cosine_alphas()[time] ** 0.5, (1 - cosine_alphas()[time]) ** 0.5))
        x, v = a * x0 + s * noise, a * noise - s * x0
        with torch.no_grad():
            guess = generator(x, torch.full((4,), float(time)), torch.zeros(4, dtype=torch.int64))
        slope = float((x * v).mean() / x.square().mean())
        assert torch.allclose(guess, slope * x, atol=0.1 * float(v.std()) * float(x.abs().max()))
        # what is left to learn has variance 1 in the network's units: a constant 1 there moves v by its spread
        torch.nn.init.ones_(generator.net.out[2].conv.bias)
        with torch.no_grad():
            unit = generator(x, torch.full((4,), float(time)), torch.zeros(4, dtype=torch.int64)) - guess
        torch.nn.init.zeros_(generator.net.out[2].conv.bias)
        assert abs(float((v - guess).std() / unit.mean()) - 1) < 0.06


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_an_image_depends_on_its_seed_and_label_alone(guidance: float) -> None:
    generator = small(guidance=guidance)
    torch.nn.init.normal_(generator.net.out[2].conv.weight, std=0.1)
    together = generator.sample([0, 1, 1], [5, 6, 7])
    assert together.shape == (3, 1, 16, 32)
    assert float(together.min()) >= 0
    assert float(together.max()) <= 1
    for i, (label, seed) in enumerate([(0, 5), (1, 6), (1, 7)]):
        assert torch.equal(generator.sample([label], [seed])[0], together[i])
    assert not torch.equal(together[1], together[2])


def test_settings_that_cannot_work() -> None:
    with pytest.raises(ConfigError, match="image_size"):
        PixelDiffusion(["a"], image_size=(20, 32))
    with pytest.raises(ConfigError, match="start"):
        PixelDiffusion(["a"], start=0.0)


def test_weights_bring_the_start_they_were_trained_with() -> None:
    trained, other = small(start=0.3), small(start=0.8)
    other.load_state_dict(trained.state_dict())
    assert float(other.start) == pytest.approx(0.3)
    assert torch.equal(other.sample([0], [4]), trained.sample([0], [4]))
