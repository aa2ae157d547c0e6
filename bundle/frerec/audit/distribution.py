"""Distances between two sets in a feature space: FID, KID, precision, recall, density, coverage.

None of these is an Inception number unless the feature space is Inception's. Compare them only between sets
measured with the same feature network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.metrics import Metric

#: Images of one set compared with all of another at a time; bounds memory.
BLOCK = 512


def polynomial_mmd(x: torch.Tensor, y: torch.Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with the cubic kernel (x.y / F + 1)^3 of KID.

    Source: Binkowski et al., "Demystifying MMD GANs", ICLR 2018, equation 4 and section 3.

    Args:
        x: float64 (N, F).
        y: float64 (M, F).

    Returns:
        The estimate; near 0, either side of it, for samples of one distribution.
    """
    n, m = len(x), len(y)
    within_x, within_y = (_kernel_sum(a, a) - _kernel(a.square().sum(1), a.shape[1]).sum() for a in (x, y))
    return float(within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * _kernel_sum(x, y) / (n * m))


def _kernel(product: torch.Tensor, features: int) -> torch.Tensor:
    return product.div(features).add_(1).pow_(3)


def _kernel_sum(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.stack([_kernel(part @ y.T, x.shape[1]).sum() for part in x.split(BLOCK)]).sum()


class FIDMetric(Metric):
    """Frechet distance between the normal distributions fitted to two sets of features.

    MONAI's metric of that name takes the square root of a product of covariances, which fails where there are
    fewer images than features; the trace of that root is had here from eigenvalues of a symmetric matrix, which
    always exist. Where MONAI's succeeds the two agree.

    Source: Heusel et al., "GANs trained by a two time-scale update rule", NeurIPS 2017, equation 6.
    """

    def __call__(self, y_pred: torch.Tensor, y: torch.Tensor) -> float:
        """Distance, at least 0, of features (N, F) and (M, F); biased upward for few images."""
        x, y = y_pred.double(), y.double()
        covariance_x, covariance_y = torch.cov(x.T), torch.cov(y.T)
        values, vectors = torch.linalg.eigh(covariance_x)
        root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
        # the trace of (Cx Cy)^1/2 is that of (Cx^1/2 Cy Cx^1/2)^1/2
        trace = torch.linalg.eigvalsh(root @ covariance_y @ root).clamp(min=0).sqrt().sum()
        distance = (x.mean(0) - y.mean(0)).square().sum() + covariance_x.trace() + covariance_y.trace() - 2 * trace
        return max(float(distance), 0.0)


class KIDMetric(Metric):
    """Kernel distance over random subsets of features.

    Args:
        subsets: number of subsets.
        subset_size: features a subset; the smaller set halved where that is less.
        seed: seed of the subsets.
    """

    def __init__(self, subsets: int = 50, subset_size: int = 200, seed: int = 0) -> None:
        self.subsets = subsets
        self.subset_size = subset_size
        self.seed = seed

    def __call__(self, y_pred: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
        """Distance of features (N, F) and (M, F): ``value`` on all of them, ``std`` between the subsets."""
        x, y = y_pred.double(), y.double()
        rng = np.random.default_rng(self.seed)
        size = max(2, min(self.subset_size, len(x) // 2, len(y) // 2))
        values = [
            polynomial_mmd(x[rng.permutation(len(x))[:size]], y[rng.permutation(len(y))[:size]])
            for _ in range(self.subsets)
        ]
        limit = 5000
        value = polynomial_mmd(x[rng.permutation(len(x))[:limit]], y[rng.permutation(len(y))[:limit]])
        return {"value": value, "std": float(np.std(values)), "subset_size": size}


class PRDCMetric(Metric):
    """Precision, recall, density and coverage by k nearest neighbours.

    Sources: Kynkaanniemi et al., "Improved precision and recall", NeurIPS 2019; Naeem et al., "Reliable fidelity
    and diversity metrics", ICML 2020, equations 3 and 4.

    Args:
        neighbours: k.
        limit: at most this many features a side, drawn with the seed; bounds memory.
        seed: seed of the draw.
    """

    def __init__(self, neighbours: int = 5, limit: int = 4000, seed: int = 0) -> None:
        self.neighbours = neighbours
        self.limit = limit
        self.seed = seed

    def __call__(self, y_pred: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        """Measures of synthetic features (N, F) against real ones (M, F), each from 0, density unbounded above."""
        rng = np.random.default_rng(self.seed)
        fake, real = (x[np.sort(rng.permutation(len(x))[: self.limit])].double() for x in (y_pred, y))
        k = min(self.neighbours, len(real) - 1, len(fake) - 1)
        real_radius, fake_radius = _radii(real, k), _radii(fake, k)
        inside = torch.zeros(len(fake), dtype=torch.int64)
        recalled, covered = 0, 0
        for part, radius in zip(real.split(BLOCK), real_radius.split(BLOCK), strict=True):
            across = _distances(part, fake)
            inside += (across <= radius[:, None]).sum(0)
            recalled += int((across <= fake_radius).any(1).sum())
            covered += int((across.min(1).values <= radius).sum())
        return {
            "precision": float((inside > 0).double().mean()),
            "recall": recalled / len(real),
            "density": float(inside.double().mean() / k),
            "coverage": covered / len(real),
            "neighbours": k,
        }


def _radii(x: torch.Tensor, k: int) -> torch.Tensor:
    """Distance of each image to its k-th nearest other one; the nearest in its own set is itself."""
    return torch.cat([_distances(part, x).kthvalue(k + 1, dim=1).values for part in x.split(BLOCK)])


def _distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # the matrix-product shortcut rounds the distance of an image to itself away from 0
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def distribution_measures(y_pred: torch.Tensor, y: torch.Tensor, seed: int = 0) -> dict[str, Any]:
    """FID, KID and PRDC of features (N, F) against reference features (M, F).

    Returns:
        Dict with ``fid``, ``kid``, ``kid_std``, ``precision``, ``recall``, ``density``, ``coverage`` and the numbers
        of images ``n``, ``n_reference``.
    """
    kid = KIDMetric(seed=seed)(y_pred, y)
    return {
        "fid": FIDMetric()(y_pred, y),
        "kid": kid["value"],
        "kid_std": kid["std"],
        **PRDCMetric(seed=seed)(y_pred, y),
        "n": len(y_pred),
        "n_reference": len(y),
    }
