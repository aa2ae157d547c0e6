"""The Gaussian source against scikit-learn's probabilistic principal component analysis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from frerec.errors import FreRecError
from frerec.generation.source import GaussianSource

SHAPE = (2, 3, 4)


def latents() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(200, 3, generator=generator)
    loadings = torch.randn(3, *SHAPE, generator=generator)
    return torch.einsum("nk,kchw->nchw", factors, loadings) + 0.1 * torch.randn(200, *SHAPE, generator=generator) + 2


def fitted(n_components: int = 3) -> GaussianSource:
    return GaussianSource(SHAPE, n_components).fit({"latent": z} for z in latents())


def test_covariance_equals_scikit_learns() -> None:
    source = fitted()
    loadings = source.components.flatten(1).double().numpy()
    covariance = loadings.T @ loadings + float(source.residual) ** 2 * np.eye(24)
    expected = PCA(3).fit(latents().flatten(1).double().numpy()).get_covariance()
    np.testing.assert_allclose(covariance, expected, atol=1e-5)
    np.testing.assert_allclose(source.mean.flatten().numpy(), latents().flatten(1).mean(0).numpy(), atol=1e-5)


def test_draws_have_the_fitted_moments() -> None:
    drawn = fitted()(4000, torch.Generator().manual_seed(1)).flatten(1)
    wanted = latents().flatten(1)
    assert (drawn.mean(0) - wanted.mean(0)).abs().max() < 0.15
    assert (torch.cov(drawn.T) - torch.cov(wanted.T)).norm() < 0.1 * torch.cov(wanted.T).norm()


def test_a_draw_depends_on_its_generator_alone() -> None:
    source = fitted()
    a, b = (source(1, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, source(1, torch.Generator().manual_seed(8)))


def test_too_few_latents() -> None:
    with pytest.raises(FreRecError, match="n_components"):
        fitted(200)


def test_classes_have_their_own_means_and_share_components() -> None:
    random = torch.Generator().manual_seed(3)
    labels = torch.arange(200) % 2
    shift = torch.randn(2, *SHAPE, generator=random)
    items = [{"latent": z + shift[label], "label": label} for z, label in zip(latents(), labels, strict=True)]
    source = GaussianSource(SHAPE, 3, n_classes=2).fit(items)
    table = torch.stack([item["latent"] for item in items])
    for label in (0, 1):
        wanted = table[labels == label].mean(0)
        torch.testing.assert_close(source.mean + source.class_offsets[label], wanted, atol=1e-4, rtol=0)
        drawn = source(3000, torch.Generator().manual_seed(4), label=label).mean(0)
        assert (drawn - wanted).abs().max() < 0.15
    within = (
        torch.cat([table[labels == label] - table[labels == label].mean(0) for label in (0, 1)]).flatten(1).double()
    )
    expected = PCA(3).fit(within.numpy()).get_covariance()
    loadings = source.components.flatten(1).double().numpy()
    covariance = loadings.T @ loadings + float(source.residual) ** 2 * np.eye(24)
    np.testing.assert_allclose(covariance, expected, atol=1e-4)
    with pytest.raises(FreRecError, match="class number 2"):
        GaussianSource(SHAPE, 3, n_classes=3).fit(items)
