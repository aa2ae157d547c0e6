"""Real Fourier transforms with one convention: orthonormal, half-plane, real in and real out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

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


def periodic_spectrum(x: torch.Tensor, spatial_dims: int) -> torch.Tensor:
    """Transform of the periodic component of images, see :func:`periodic_plus_smooth`.

    One transform of the image, less the transform of its smooth component, which has a closed form: the jump across
    the border lives on two opposite faces that differ in sign alone, so that of a jump along an axis of n pixels is the
    transform of one face times 1 - exp(2 pi i k / n).

    Args:
        x: real tensor (..., *spatial).
        spatial_dims: 2 or 3.

    Returns:
        Complex tensor (..., *half) as :func:`rfftn` gives it.
    """
    spatial_axes(x, spatial_dims)
    x = _as_float(x)
    return rfftn(x, spatial_dims).sub_(_smooth_spectrum(x, spatial_dims))


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
    spatial_axes(x, spatial_dims)
    x = _as_float(x)
    smooth = irfftn(_smooth_spectrum(x, spatial_dims), x.shape[-spatial_dims:])
    return x - smooth, smooth


def _smooth_spectrum(x: torch.Tensor, spatial_dims: int) -> torch.Tensor:
    shape = tuple(x.shape[-spatial_dims:])
    inverse, jumps = _poisson(shape, x.dtype, x.device)
    jump = x.new_zeros((*x.shape[:-1], shape[-1] // 2 + 1), dtype=x.dtype.to_complex())
    with torch.autocast(x.device.type, enabled=False):
        for i, factor in enumerate(jumps):
            axis = i - spatial_dims
            face = x.narrow(axis, shape[i] - 1, 1) - x.narrow(axis, 0, 1)
            others = [a for a in range(-spatial_dims, 0) if a != axis]
            # the half-plane runs along the last axis, which the faces across that axis do not have
            transform = torch.fft.fftn if axis == -1 else torch.fft.rfftn
            jump.addcmul_(transform(face, dim=others), factor)
    return jump.mul_(inverse)


@lru_cache(maxsize=32)
def _poisson(
    shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Inverse of the periodic Laplacian on the half-plane, orthonormal; per axis the transform of a unit jump."""
    laplacian = torch.zeros((), dtype=torch.float64)
    jumps = []
    for i, n in enumerate(shape):
        k = torch.arange(n // 2 + 1 if i == len(shape) - 1 else n, dtype=torch.float64)
        view = [-1 if j == i else 1 for j in range(len(shape))]
        sine = torch.sin(math.pi * k / n)
        # 2 cos(t) - 2 = -4 sin^2(t / 2), which keeps its digits near zero frequency
        laplacian = laplacian - 4 * sine.square().view(view)
        # 1 - exp(i t) = -2 i sin(t / 2) exp(i t / 2), likewise
        jump = torch.polar(2 * sine, math.pi * (k / n - 0.5))
        jumps.append(jump.view(view).to(dtype.to_complex()).to(device))
    inverse = laplacian.reciprocal() / math.sqrt(math.prod(shape))
    inverse.view(-1)[0] = 0  # the smooth component has mean zero
    return inverse.to(dtype).to(device), tuple(jumps)
