"""The losses are those of the least squares GAN (Mao et al., 2017) beside two distances of the images."""

from __future__ import annotations

import numpy as np
import torch

from frerec.generation.losses import AutoencoderLosses


def test_losses_by_their_formulas() -> None:
    rng = torch.Generator().manual_seed(0)
    fake, real = (torch.rand(2, 1, 16, 16, generator=rng) for _ in range(2))
    losses = AutoencoderLosses(adversarial_weight=0.3, spectral_weight=0.0)
    assert torch.isclose(losses.reconstruction(fake, real), (fake - real).abs().mean())
    # only the last layer of a discriminator counts, and MONAI squashes its negative part
    on_fake, on_real = ([torch.zeros(1), torch.randn(2, 1, 4, 4, generator=rng)] for _ in range(2))
    score_fake, score_real = (torch.nn.functional.leaky_relu(x[-1], 0.05) for x in (on_fake, on_real))
    assert torch.isclose(losses.generator(on_fake), 0.3 * ((score_fake - 1) ** 2).mean())
    expected = 0.5 * (((score_real - 1) ** 2).mean() + (score_fake**2).mean())
    assert torch.isclose(losses.discriminator(on_real, on_fake), expected)


def test_the_spectral_term_sees_a_lost_band() -> None:
    x = torch.from_numpy(np.indices((32, 32)).sum(0) % 2).float()[None, None]
    flat = torch.full_like(x, 0.5)
    with_spectrum, without = (AutoencoderLosses(0, weight).reconstruction(flat, x) for weight in (1.0, 0.0))
    assert with_spectrum > without
