"""Where a frequency lies: radius in fractions of Nyquist, rings of equal width, the high band.

One definition for the whole package. The radius of a frequency is Euclidean, in fractions of the Nyquist
frequency of the most finely sampled axis, so a circle of radius ``mask_ratio`` means the same physical detail
in every direction, and the same in a slice as in an anisotropic volume. Along an axis it ends at 1 (less on a
coarser axis); towards the corners it reaches sqrt(2) in 2-D and sqrt(3) in 3-D. We prefer it to the Chebyshev
radius (a square mask) because tissue has no preferred axis: a square mask treats a diagonal edge unlike a
horizontal one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from frerec.errors import ConfigError


def radius(
    shape: Sequence[int], spacing: Sequence[float] | None = None, device: torch.device | str | None = None
) -> torch.Tensor:
    """Radius of every coefficient of an rfft half-plane.

    Args:
        shape: spatial size of the image, 2 or 3 numbers, odd or even.
        spacing: size of a pixel along each axis in millimetres; None for equal spacing.
        device: where the result lives.

    Returns:
        float32 tensor (*shape[:-1], shape[-1] // 2 + 1), 0 at zero frequency, 1 at the Nyquist frequency of the
        finest axis.

    Raises:
        ConfigError: ``spacing`` has another length than ``shape`` or is not positive.
    """
    steps = [1.0] * len(shape) if spacing is None else [float(s) for s in spacing]
    if len(steps) != len(shape) or min(steps) <= 0 or not all(math.isfinite(s) for s in steps):
        raise ConfigError(
            "spacing", spacing, f"an image of size {tuple(shape)} needs {len(shape)} positive numbers",
            "Give one spacing in millimetres for each axis",
        )  # fmt: skip
    finest = min(steps)
    squared = torch.zeros((), dtype=torch.float64, device=device)
    for i, (n, step) in enumerate(zip(shape, steps, strict=True)):
        transform = torch.fft.rfftfreq if i == len(shape) - 1 else torch.fft.fftfreq
        frequency = transform(n, dtype=torch.float64, device=device) * (2 * finest / step)
        view = [1] * len(shape)
        view[i] = -1
        squared = squared + frequency.square().view(view)
    return squared.sqrt().float()


def hermitian_weights(shape: Sequence[int], device: torch.device | str | None = None) -> torch.Tensor:
    """How often each half-plane coefficient stands in the full spectrum: 1 or 2.

    Args:
        shape: spatial size of the image.
        device: where the result lives.

    Returns:
        float32 tensor of the half-plane's size: 1 in the column of zero frequency and, for an even last axis, of
        Nyquist; 2 elsewhere.
    """
    weights = torch.full((*shape[:-1], shape[-1] // 2 + 1), 2.0, device=device)
    weights[..., 0] = 1
    if shape[-1] % 2 == 0:
        weights[..., -1] = 1
    return weights


def default_rings(shape: Sequence[int]) -> int:
    """Number of rings that makes each about one frequency step wide along the shortest axis."""
    return max(1, round(math.sqrt(len(shape)) * min(shape) / 2))


def ring_edges(n_rings: int, ndim: int) -> torch.Tensor:
    """Edges of ``n_rings`` rings of equal width from radius 0 to sqrt(ndim); float64 tensor (n_rings + 1,)."""
    if n_rings < 1:
        raise ConfigError("n_rings", n_rings, "there is at least one ring", "Use a whole number from 1 on")
    return torch.linspace(0, math.sqrt(ndim), n_rings + 1, dtype=torch.float64)


def ring_index(
    shape: Sequence[int],
    n_rings: int | None = None,
    spacing: Sequence[float] | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """The ring each half-plane coefficient belongs to.

    Args:
        shape: spatial size of the image.
        n_rings: number of rings over radius 0 to sqrt(ndim); None for :func:`default_rings`.
        spacing: as in :func:`radius`.
        device: where the result lives.

    Returns:
        int64 tensor of the half-plane's size with values 0 to ``n_rings - 1``. A ring holds its lower edge.
    """
    n_rings = default_rings(shape) if n_rings is None else n_rings
    edges = ring_edges(n_rings, len(shape)).to(device or "cpu")
    position = radius(shape, spacing, device).double() * (n_rings / edges[-1])
    # float32 radii sit a rounding error below an edge they lie on
    return (position + 1e-6).floor().long().clamp_(max=n_rings - 1)


def high_mask(
    shape: Sequence[int],
    mask_ratio: float,
    spacing: Sequence[float] | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """The binary mask of the high band: radius at or above ``mask_ratio`` (paper, stage 1, step 1).

    Args:
        shape: spatial size of the image.
        mask_ratio: radius where the high band begins, in fractions of Nyquist, above 0 and below 1.
        spacing: as in :func:`radius`.
        device: where the result lives.

    Returns:
        bool tensor of the half-plane's size.

    Raises:
        ConfigError: ``mask_ratio`` is out of range.
    """
    if not 0 < mask_ratio < 1:
        raise ConfigError(
            "mask_ratio", mask_ratio, "the high band begins between zero frequency and Nyquist",
            "Use a number above 0 and below 1; the paper uses 0.5",
        )  # fmt: skip
    return radius(shape, spacing, device) >= mask_ratio


def ring_mean(values: torch.Tensor, index: torch.Tensor, weights: torch.Tensor, n_rings: int) -> torch.Tensor:
    """Weighted mean of half-plane values over each ring.

    Args:
        values: real tensor (..., *half).
        index: ring of each coefficient, (*half), from :func:`ring_index`.
        weights: weight of each coefficient, (*half), from :func:`hermitian_weights`.
        n_rings: number of rings.

    Returns:
        Tensor (..., n_rings), summed in float64 and returned in the dtype of ``values``; NaN for a ring without
        a coefficient (a small image has fewer frequencies than a fine ring grid).
    """
    flat = values.reshape(*values.shape[: values.ndim - index.ndim], -1).double()
    w = weights.reshape(-1).double()
    total = torch.zeros(*flat.shape[:-1], n_rings, dtype=torch.float64, device=flat.device)
    total.index_add_(-1, index.reshape(-1), flat * w)
    count = torch.zeros(n_rings, dtype=torch.float64, device=flat.device).index_add_(0, index.reshape(-1), w)
    return (total / count.where(count > 0, torch.nan)).to(values.dtype)
