"""Structural similarity of one image with many: the exact dense index.

Gaussian window of 11 pixels and sigma 1.5, biased local covariances, constants (0.01 L)^2 and (0.03 L)^2, mean
over the window positions that lie wholly inside the image and over channels. That is scikit-image's
``structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)``, which computes a padded
map and crops 5 pixels on each side, MONAI's ``SSIMMetric`` and torchmetrics' ``structural_similarity_index_measure``.

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


def ssim(x: torch.Tensor, y: torch.Tensor, spatial_dims: int, data_range: float = 1.0) -> torch.Tensor:
    """Dense Gaussian SSIM of pairs of images.

    Args:
        x: (B or 1, C, *spatial), real.
        y: (B, C, *spatial).
        spatial_dims: 2 or 3.
        data_range: difference of the largest and smallest possible value.

    Returns:
        float64 (B,): mean SSIM, at most 1. The maps are computed in the inputs' precision, float32 at least.

    Raises:
        FreRecError: shapes differ, or the image is smaller than the window.
    """
    if x.shape[1:] != y.shape[1:] or x.ndim != spatial_dims + 2:
        raise FreRecError(f"SSIM needs images of one shape, got {tuple(x.shape)} and {tuple(y.shape)}. Resize one.")
    check_window(x.shape[-spatial_dims:])
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    # Local variances are differences of squares: taking out a constant first keeps their digits.
    shift = 0.5 * data_range
    x, y = x.to(dtype) - shift, y.to(dtype) - shift
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mu_x, mu_y = local_mean(x, spatial_dims), local_mean(y, spatial_dims)
    var_x = local_mean(x * x, spatial_dims) - mu_x * mu_x
    var_y = local_mean(y * y, spatial_dims) - mu_y * mu_y
    cov = local_mean(x * y, spatial_dims) - mu_x * mu_y
    mu_x, mu_y = mu_x + shift, mu_y + shift
    luminance = (2 * mu_x * mu_y + c1) / (mu_x * mu_x + mu_y * mu_y + c1)
    values = luminance * (2 * cov + c2) / (var_x + var_y + c2)
    # summed in double precision, so that the number of threads does not show
    return values.flatten(1).mean(1, dtype=torch.float64)


def check_window(shape: Sequence[int]) -> None:
    """Raise FreRecError where an image of spatial size ``shape`` has no room for the window."""
    if min(shape) < WINDOW:
        raise FreRecError(
            f"an image of size {tuple(shape)} is smaller than the SSIM window of {WINDOW} pixels. "
            "Use larger images, or a statistics bank and method=descriptor."
        )
