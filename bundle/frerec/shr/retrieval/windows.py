"""Strided-window SSIM from local moments: a cheap, close estimate that ranks a whole bank.

Dense SSIM visits every window position of every pair. Its mean is well estimated from some thousand positions, and
a window's only quantity that depends on the pair, the covariance, is a scalar product of the two windows' pixels.
We write each window in polynomials that are orthonormal under the Gaussian weights: the constant one gives the
mean, the lowest orders carry nearly all of what two different images can have in common. So an image becomes a few
numbers a window (two products with matrices), and a comparison a few multiplications of them. The estimate picks a
short list, which :func:`frerec.shr.retrieval.ssim.ssim` then ranks exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

import torch

from frerec.shr.retrieval.ssim import K1, K2, SIGMA, WINDOW, check_window, gaussian_window

#: Window positions along each axis, about: a thousand in all, in the plane as in a volume.
POSITIONS = {2: 32, 3: 10}
#: Highest total order of the polynomials.
ORDER = 2
# Intensities are taken about the middle of [0, 1], so that half precision serves their means.
_MIDDLE = 0.5


@lru_cache(maxsize=1)
def _polynomials() -> torch.Tensor:
    """Values of the orthonormal polynomials of order 0 to ORDER times the window's weights, float64 (11, ORDER + 1)."""
    offset = (torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2) / SIGMA
    powers = torch.stack([offset**k for k in range(ORDER + 1)], dim=1)
    root = gaussian_window().sqrt().unsqueeze(1)
    basis, triangle = torch.linalg.qr(powers * root)
    return basis * torch.sign(triangle.diagonal()) * root


@lru_cache(maxsize=16)
def _projections(shape: tuple[int, ...]) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...], torch.Tensor]:
    """Per axis: image to moments (positions * (ORDER + 1), n), and to order 0 alone; then the kept orders."""
    full, plain = [], []
    for n in shape:
        stride = max(1, n // POSITIONS[len(shape)])
        count = (n - WINDOW) // stride + 1
        first = (n - WINDOW - (count - 1) * stride) // 2
        matrix = torch.zeros(count, ORDER + 1, n, dtype=torch.float64)
        for p in range(count):
            matrix[p, :, first + p * stride : first + p * stride + WINDOW] = _polynomials().T
        full.append(matrix.flatten(0, 1).float())
        plain.append(matrix[:, 0].float())
    combinations = itertools.product(range(ORDER + 1), repeat=len(shape))
    kept = [k for k, orders in enumerate(combinations) if sum(orders) <= ORDER]
    return tuple(full), tuple(plain), torch.tensor(kept)


def _apply(matrices: Sequence[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    for axis, matrix in zip(range(-len(matrices), 0), matrices, strict=True):
        x = torch.movedim(torch.tensordot(x, matrix.to(x.device), dims=([axis], [1])), -1, axis)
    return x


def local_moments(x: torch.Tensor, spatial_dims: int) -> torch.Tensor:
    """Describe images by their strided windows.

    Args:
        x: (B, C, *spatial), nominal range [0, 1], at least 11 pixels along each axis.
        spatial_dims: 2 or 3.

    Returns:
        float32 (B, 1 + terms, C * windows): the variance of each window, then its polynomial coefficients, of
        which the first is the mean less 0.5.

    Raises:
        FreRecError: the image is smaller than the window.
    """
    shape = tuple(x.shape[-spatial_dims:])
    check_window(shape)
    full, plain, kept = _projections(shape)
    x = x.float() - _MIDDLE
    moments = _apply(full, x)
    batch, channels = x.shape[:2]
    sizes = [m.shape[0] for m in plain]
    split = moments.reshape(batch, channels, *itertools.chain.from_iterable((n, ORDER + 1) for n in sizes))
    positions = [2 + 2 * i for i in range(spatial_dims)]
    orders = [3 + 2 * i for i in range(spatial_dims)]
    moments = split.permute(0, *orders, 1, *positions).flatten(1, spatial_dims)[:, kept].flatten(2)
    variance = _apply(plain, x * x).flatten(1) - moments[:, 0].square()
    return torch.cat([variance.clamp(min=0).unsqueeze(1), moments], dim=1)


def strided_ssim(query: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    """Estimate of SSIM from local moments.

    Args:
        query: (1 + terms, W) of one image.
        bank: (N, 1 + terms, W) of the images to compare with, half precision or single.

    Returns:
        float32 (N,).
    """
    c1, c2 = K1**2, K2**2
    variance, mean, *terms = bank.float().unbind(1)
    covariance = terms[0] * query[2]
    for coefficient, of_query in zip(terms[1:], query[3:], strict=True):
        covariance.addcmul_(coefficient, of_query)
    level_q, level = query[1] + _MIDDLE, mean + _MIDDLE
    numerator = (level * (2 * level_q)).add_(c1).mul_(covariance.mul_(2).add_(c2))
    denominator = level.square_().add_(level_q.square() + c1).mul_(variance + (query[0] + c2))
    return numerator.div_(denominator).mean(-1)
