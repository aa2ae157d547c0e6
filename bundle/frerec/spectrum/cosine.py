"""The cosine transform: frequencies of an image continued by its mirror image, so that borders are no edges.

Its products with small matrices are the same in every engine a network is exported to. Equal to
``scipy.fft.dctn(type=2, norm="ortho")``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import TypeVar

import torch

Key = TypeVar("Key")


def _remembered(make: Callable[[Key], torch.Tensor]) -> Callable[[Key], torch.Tensor]:
    cached = lru_cache(maxsize=16)(make)

    @wraps(make)
    def get(key: Key) -> torch.Tensor:
        # a cached tensor in one trace and a new one in the next would make the tracer see two different networks, and
        # what an exporter sees is no tensor at all
        return make(key) if torch.jit.is_tracing() or torch.compiler.is_compiling() else cached(key)

    return get


@_remembered
def _matrix(n: int) -> torch.Tensor:
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    rows = torch.cos(math.pi / n * (i + 0.5) * k) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows.float()


def _apply(x: torch.Tensor, dims: int, inverse: bool) -> torch.Tensor:
    for axis in range(-dims, 0):
        matrix = _matrix(int(x.shape[axis])).to(x.device)
        matrix = matrix if inverse else matrix.t()  # of products from the right
        x = x @ matrix if axis == -1 else torch.movedim(x.movedim(axis, -1) @ matrix, -1, axis)
    return x


def dctn(x: torch.Tensor, dims: int = 2) -> torch.Tensor:
    """Orthonormal cosine transform (type 2) over the last ``dims`` axes of a float32 tensor."""
    return _apply(x, dims, inverse=False)


def idctn(x: torch.Tensor, dims: int = 2) -> torch.Tensor:
    """Inverse of :func:`dctn`."""
    return _apply(x, dims, inverse=True)


@_remembered
def cosine_radius(shape: tuple[int, ...]) -> torch.Tensor:
    """Radius of each coefficient in fractions of Nyquist, float32 of that shape: 0 to about sqrt(ndim)."""
    axes = [(torch.arange(n) / n).view([-1 if a == b else 1 for b in range(len(shape))]) for a, n in enumerate(shape)]
    return sum((axis.square() for axis in axes), torch.zeros(())).sqrt()


def at_radius(values: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Values on rings of equal width over radius 0 to sqrt(ndim), (..., R), at every coefficient, (..., *shape).

    Linear between the centres of the rings, constant beyond the first and the last.
    """
    n = values.shape[-1]
    rho = cosine_radius(tuple(int(side) for side in shape)).to(values.device)
    position = (rho * (n / math.sqrt(len(shape))) - 0.5).clamp(0, n - 1)
    below = position.long().clamp(max=max(n - 2, 0))
    return torch.lerp(values[..., below], values[..., (below + 1).clamp(max=n - 1)], position - below)
