"""Structural similarity of one image with many: the exact dense index.

Gaussian window of 11 pixels and sigma 1.5, biased local covariances, constants (0.01 L)^2 and (0.03 L)^2, mean
over the window positions that lie wholly inside the image and over channels. That is the mean of scikit-image's
``structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)``, which crops its map by
5 pixels on each side, and of MONAI's ``SSIMMetric``. torchmetrics' ``structural_similarity_index_measure`` has the
same map but averages over the border as well, where windows look at reflected pixels.

Source: Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE Trans.
Image Process. 13 (2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from frerec.errors import FreRecError

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03
# A band matrix this wide is mostly non-zero and still large enough for a fast matrix product.
_BLOCK = 32


def gaussian_window() -> torch.Tensor:
    """The one-dimensional window, float64 (11,), summing to 1."""
    offset = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-offset.square() / (2 * SIGMA**2))
    return weights / weights.sum()


@lru_cache(maxsize=64)
def _band_matrix(outputs: int, dtype: torch.dtype) -> torch.Tensor:
    """(outputs + 10, outputs): column i holds the window at rows i to i + 10."""
    matrix = torch.zeros(outputs + WINDOW - 1, outputs, dtype=torch.float64)
    for i in range(outputs):
        matrix[i : i + WINDOW, i] = gaussian_window()
    return matrix.to(dtype)


def local_mean(x: torch.Tensor, spatial_dims: int) -> torch.Tensor:
    """Gaussian-weighted mean at every window position inside the image, (..., *(spatial - 10)).

    As products with band matrices: an order of magnitude faster on CPU than torch's convolution of few channels.
    """
    for axis in range(-spatial_dims, 0):
        outputs = x.shape[axis] - WINDOW + 1
        pieces = []
        for start in range(0, outputs, _BLOCK):
            count = min(_BLOCK, outputs - start)
            matrix = _band_matrix(count, x.dtype).to(x.device)
            piece = x.narrow(axis, start, count + WINDOW - 1)
            if axis == -1:
                pieces.append(piece @ matrix)
            elif axis == -2:
                pieces.append(matrix.T @ piece)
            else:
                pieces.append((piece.movedim(axis, -1) @ matrix).movedim(-1, axis))
        x = torch.cat(pieces, dim=axis)
    return x


class SSIMQuery:
    """Images whose own share of SSIM is computed once, to be compared with many others.

    Args:
        x: (B, C, *spatial), real; B is 1 to compare one image with batches.
        spatial_dims: 2 or 3.
        data_range: difference of the largest and smallest possible value.

    Raises:
        FreRecError: the image is smaller than the window.
    """

    def __init__(self, x: torch.Tensor, spatial_dims: int, data_range: float = 1.0) -> None:
        check_window(x.shape[-spatial_dims:])
        # Local variances are differences of squares: taking out a constant first keeps their digits.
        self._dims, self._shift, self._shape = spatial_dims, 0.5 * data_range, tuple(x.shape)
        self._c1, self._c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
        self._x = x.to(torch.promote_types(x.dtype, torch.float32)) - self._shift
        self._mean, square = local_mean(torch.stack([self._x, self._x * self._x]), spatial_dims).unbind(0)
        self._variance = square - self._mean * self._mean

    def __call__(self, y: torch.Tensor) -> torch.Tensor:
        """Compare with others.

        Args:
            y: (B, C, *spatial), of the same range.

        Returns:
            float64 (B,): mean SSIM, at most 1. The maps are computed in the precision of ``x``, float32 at least.

        Raises:
            FreRecError: another shape than the query's.
        """
        if tuple(y.shape[1:]) != self._shape[1:] or self._shape[0] not in (1, len(y)):
            raise FreRecError(f"SSIM needs images of one shape, got {self._shape} and {tuple(y.shape)}. Resize one.")
        # slab by slab, so that the maps of a slab stay in the processor's cache
        total = torch.zeros(len(y), dtype=torch.float64, device=y.device)
        for start in range(0, self._mean.shape[-self._dims], _BLOCK):
            total += self._slab(y, start).flatten(1).sum(1, dtype=torch.float64)
        return total / self._mean[0].numel()

    def _slab(self, y: torch.Tensor, start: int) -> torch.Tensor:
        """The SSIM map of the window positions from ``start`` along the first spatial axis, at most _BLOCK of them."""
        axis = -self._dims
        count = min(_BLOCK, self._mean.shape[axis] - start)
        x = self._x.narrow(axis, start, count + WINDOW - 1)
        y = y.narrow(axis, start, count + WINDOW - 1).to(x.dtype) - self._shift
        mean_x, variance_x = (v.narrow(axis, start, count) for v in (self._mean, self._variance))
        mean_y, square, product = local_mean(torch.stack([y, y * y, x * y]), self._dims).unbind(0)
        variance = square.addcmul_(mean_y, mean_y, value=-1).add_(variance_x).add_(self._c2)
        covariance = product.addcmul_(mean_x, mean_y, value=-1).mul_(2).add_(self._c2)
        level_x, level_y = mean_x + self._shift, mean_y.add_(self._shift)
        numerator = (level_x * level_y).mul_(2).add_(self._c1).mul_(covariance)
        return numerator.div_(level_y.square_().add_(level_x * level_x).add_(self._c1).mul_(variance))


def ssim(x: torch.Tensor, y: torch.Tensor, spatial_dims: int, data_range: float = 1.0) -> torch.Tensor:
    """Dense Gaussian SSIM of pairs of images.

    Args:
        x: (B or 1, C, *spatial), real.
        y: (B, C, *spatial).
        spatial_dims: 2 or 3.
        data_range: difference of the largest and smallest possible value.

    Returns:
        float64 (B,): mean SSIM, at most 1. The maps are computed in the precision of ``x``, float32 at least.

    Raises:
        FreRecError: shapes differ, or the image is smaller than the window.
    """
    return SSIMQuery(x, spatial_dims, data_range)(y)


def check_window(shape: Sequence[int]) -> None:
    """Raise FreRecError where an image of spatial size ``shape`` has no room for the window."""
    if min(shape) < WINDOW:
        raise FreRecError(
            f"an image of size {tuple(shape)} is smaller than the SSIM window of {WINDOW} pixels. "
            "Use larger images, or a statistics bank and method=descriptor."
        )
