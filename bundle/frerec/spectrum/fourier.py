"""Real Fourier transforms with one convention: orthonormal, half-plane, real in and real out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from frerec.errors import FreRecError


def spatial_axes(x: torch.Tensor, spatial_dims: int) -> tuple[int, ...]:
    """Return the last ``spatial_dims`` axes of ``x`` as negative indices.

    Raises:
        FreRecError: ``spatial_dims`` is not 2 or 3, or ``x`` has fewer axes, or one of them is empty.
    """
    if spatial_dims not in (2, 3):
        raise FreRecError(f"spatial_dims={spatial_dims}: images have 2 or 3 spatial dimensions. Use 2 or 3.")
    if x.ndim < spatial_dims or min(x.shape[-spatial_dims:]) < 1:
        raise FreRecError(
            f"an array of shape {tuple(x.shape)} has no {spatial_dims}-D image in its last axes. "
            f"Pass (..., {'H, W' if spatial_dims == 2 else 'H, W, D'})."
        )
    return tuple(range(-spatial_dims, 0))


def _as_float(x: torch.Tensor) -> torch.Tensor:
    # CUDA has no bfloat16 FFT and a float16 one for powers of two only; integers have none anywhere.
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def rfftn(x: torch.Tensor, spatial_dims: int) -> torch.Tensor:
    """Orthonormal Fourier transform of real images, half-plane along the last axis.

    Args:
        x: real tensor (..., *spatial) of any dtype; less than float32 is computed as float32.
        spatial_dims: 2 or 3, the number of trailing image axes.

    Returns:
        Complex tensor (..., *spatial[:-1], spatial[-1] // 2 + 1). By Parseval, its squared modulus weighted by
        :func:`frerec.spectrum.bands.hermitian_weights` sums to the sum of squares of ``x``.
    """
    axes = spatial_axes(x, spatial_dims)
    with torch.autocast(x.device.type, enabled=False):
        # MKL refuses expanded tensors (a stride of 0) in PyTorch 2.8
        return torch.fft.rfftn(_as_float(x).contiguous(), dim=axes, norm="ortho")


def irfftn(spectrum: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Inverse of :func:`rfftn`.

    Args:
        spectrum: complex half-plane tensor (..., *half).
        shape: spatial size of the image; explicit, because the half-plane does not tell odd from even.

    Returns:
        Real tensor (..., *shape).
    """
    axes = tuple(range(-len(shape), 0))
    with torch.autocast(spectrum.device.type, enabled=False):
        return torch.fft.irfftn(spectrum, s=tuple(shape), dim=axes, norm="ortho")


def periodic_plus_smooth(x: torch.Tensor, spatial_dims: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split images into a periodic component and a smooth one that carries the jump across the border.

    The discrete Fourier transform takes an image for periodic: where opposite borders differ, a cross of high
    frequencies appears that the anatomy does not have. The smooth component solves a Poisson equation whose
    source is that jump, so the periodic one has the image's own detail and no cross; no window, no padding,
    and the sum is the image again.

    Source: L. Moisan, "Periodic plus smooth image decomposition", J. Math. Imaging Vis. 39 (2011), section 2.

    Args:
        x: real tensor (..., *spatial).
        spatial_dims: 2 or 3.

    Returns:
        ``(periodic, smooth)``, both real, of the shape of ``x``; the smooth one has mean zero.
    """
    axes = spatial_axes(x, spatial_dims)
    x = _as_float(x)
    shape = x.shape[-spatial_dims:]
    jump = torch.zeros_like(x)
    for axis in axes:
        if x.shape[axis] < 2:
            continue
        first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
        jump.narrow(axis, 0, 1).add_(last - first)
        jump.narrow(axis, x.shape[axis] - 1, 1).add_(first - last)
    laplacian = torch.zeros((), dtype=x.dtype, device=x.device)
    for i, n in enumerate(shape):
        count = n // 2 + 1 if i == spatial_dims - 1 else n
        k = torch.arange(count, dtype=x.dtype, device=x.device)
        view = [1] * spatial_dims
        view[i] = count
        # 2 cos(t) - 2 = -4 sin^2(t / 2), which keeps its digits near zero frequency in float32
        laplacian = laplacian - 4 * torch.sin(math.pi * k / n).square().view(view)
    inverse = laplacian.reciprocal()
    inverse.view(-1)[0] = 0  # the smooth component has mean zero
    smooth = irfftn(rfftn(jump, spatial_dims) * inverse, shape)
    return x - smooth, smooth
