from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import FIDMetric as MonaiFID
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from frerec.audit.distribution import FIDMetric, KIDMetric, PRDCMetric, distribution_measures, polynomial_mmd


@pytest.fixture(scope="module")
def features() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    mix = torch.randn(16, 16, generator=random)
    real = torch.randn(150, 16, generator=random) @ mix
    return torch.randn(120, 16, generator=random) @ mix * 1.1 + 0.3, real


def torchmetrics_fid(fake: torch.Tensor, real: torch.Tensor) -> float:
    x, y = fake.double(), real.double()
    return float(_compute_fid(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T)))


def test_fid_equals_torchmetrics_monai_and_scipy(features: tuple[torch.Tensor, torch.Tensor]) -> None:
    fake, real = features
    found = FIDMetric()(fake, real)
    assert found == pytest.approx(torchmetrics_fid(fake, real), rel=1e-6)
    assert found == pytest.approx(float(MonaiFID()(fake, real)), rel=1e-4)
    x, y = fake.double().numpy(), real.double().numpy()
    a, b = np.cov(x.T), np.cov(y.T)
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert found == pytest.approx(expected, rel=1e-6)


def test_fid_of_fewer_images_than_features() -> None:
    random = torch.Generator().manual_seed(1)
    fake, real = (torch.randn(20, 40, generator=random) for _ in range(2))
    assert FIDMetric()(fake, real) == pytest.approx(torchmetrics_fid(fake, real), rel=1e-4)
    assert FIDMetric()(real, real) == pytest.approx(0, abs=1e-6)


def test_kid_equals_torchmetrics_and_scikit_learn(features: tuple[torch.Tensor, torch.Tensor]) -> None:
    fake, real = (x[:100].double() for x in features)
    assert polynomial_mmd(fake, real) == pytest.approx(float(poly_mmd(fake, real)), rel=1e-9)
    # sides of different size, which torchmetrics does not take
    x, y = fake[:80].numpy(), real.numpy()
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    np.fill_diagonal(xx, 0)
    np.fill_diagonal(yy, 0)
    expected = xx.sum() / (80 * 79) + yy.sum() / (100 * 99) - 2 * xy.mean()
    assert polynomial_mmd(fake[:80], real) == pytest.approx(expected, rel=1e-9)


def test_kid_of_one_distribution_scatters_about_zero() -> None:
    random = torch.Generator().manual_seed(2)
    found = KIDMetric(subsets=30)(torch.randn(300, 8, generator=random), torch.randn(300, 8, generator=random))
    assert abs(found["value"]) < 2 * found["std"] + 0.02
    assert found["subset_size"] == 150


def test_prdc_equals_brute_force(features: tuple[torch.Tensor, torch.Tensor]) -> None:
    fake, real = (x.double().numpy() for x in features)
    k = 5

    def radii(x: np.ndarray) -> list[float]:
        return [sorted(np.linalg.norm(a - b) for b in x)[k] for a in x]

    real_radius, fake_radius = radii(real), radii(fake)
    inside_real = np.array([[np.linalg.norm(f - r) <= d for f in fake] for r, d in zip(real, real_radius, strict=True)])
    inside_fake = np.array([[np.linalg.norm(f - r) <= d for f, d in zip(fake, fake_radius, strict=True)] for r in real])
    found = PRDCMetric(k)(*features)
    assert found["precision"] == pytest.approx(inside_real.any(0).mean())
    assert found["recall"] == pytest.approx(inside_fake.any(1).mean())
    assert found["density"] == pytest.approx(inside_real.sum() / (k * len(fake)))
    assert found["coverage"] == pytest.approx(inside_real.any(1).mean())


def test_all_measures_come_with_their_numbers_of_images(features: tuple[torch.Tensor, torch.Tensor]) -> None:
    found = distribution_measures(*features)
    assert (found["n"], found["n_reference"]) == (120, 150)
    assert found["kid"] > 0
    assert found["kid_std"] > 0
