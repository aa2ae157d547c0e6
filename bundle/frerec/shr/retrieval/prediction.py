"""Predicting an image's high band from its low frequencies, with the bank as the examples.

Retrieval is there to find real images whose high frequencies could be the query's. SSIM does not look at that, and
whole descriptors weigh what matters and what does not alike. A ridge regression from descriptor to high-band
profile, fitted on the bank, gives the weights.
"""

from __future__ import annotations

import torch

#: Ridge penalties tried, as multiples of the number of images.
_PENALTIES = torch.logspace(-4, 1, 21, dtype=torch.float64)


class BlurFreeSpace:
    """Descriptors standardised over the bank, less the direction in which a blur moves them.

    Args:
        descriptors: float (N, D) of the bank.
        direction: float64 (D,) from :func:`frerec.shr.retrieval.descriptor.blur_direction`.
    """

    def __init__(self, descriptors: torch.Tensor, direction: torch.Tensor) -> None:
        table = descriptors.double()
        self._mean = table.mean(0)
        self._scale = table.std(0, correction=0).clamp(min=1e-6)
        self._blur = direction.double() / self._scale
        self._blur = self._blur / self._blur.norm().clamp(min=1e-12)

    def __call__(self, descriptors: torch.Tensor) -> torch.Tensor:
        """Map descriptors (..., D) to float64 (..., D)."""
        z = (descriptors.double() - self._mean) / self._scale
        return z - (z @ self._blur).unsqueeze(-1) * self._blur

    def factor(self, linear: torch.Tensor) -> torch.Tensor:
        """Matrix (D, at most D), float32, that gives distances as this space and then a map ``linear`` (D, T) do."""
        matrix = (linear - torch.outer(self._blur, self._blur @ linear)) / self._scale.unsqueeze(1)
        u, s, _ = torch.linalg.svd(matrix, full_matrices=False)
        return (u * s).float()

    def squared_distances(
        self, descriptors: torch.Tensor, query: torch.Tensor, factor: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Estimate how far descriptors lie from one of them, in single precision and a few passes.

        Args:
            descriptors: float32 (N, D).
            query: float32 (D,).
            factor: from :meth:`factor`, where they are compared after a map.

        Returns:
            float32 (N,): squared Euclidean distance in this space, or after the map.
        """
        # what is near is subtracted without loss before anything is scaled
        difference = descriptors - query
        if factor is not None:
            return torch.linalg.vector_norm(difference @ factor, dim=1).square_()
        difference.mul_(self._scale.reciprocal().float())
        along = difference @ self._blur.float()
        return torch.linalg.vector_norm(difference, dim=1).square_().sub_(along.square_())


def ridge(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Ridge regression, its penalty chosen by generalised cross-validation.

    Source: G. Golub, M. Heath, G. Wahba, "Generalized cross-validation as a method for choosing a good ridge
    parameter", Technometrics 21 (1979).

    Args:
        x: float64 (N, D), of mean zero.
        y: float64 (N, T), of mean zero.

    Returns:
        float64 (D, T): coefficients that predict ``y`` as ``x @ coefficients``.
    """
    n = len(x)
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    projected = u.T @ y
    explained = projected.square().sum(1)
    outside = (y.square().sum() - explained.sum()).clamp(min=0)
    shrink = s.square() / (s.square() + _PENALTIES.unsqueeze(1) * n)
    residual = outside + ((1 - shrink).square() * explained).sum(1)
    freedom = (n - 1 - shrink.sum(1)).clamp(min=1e-6)
    best = shrink[int((residual / freedom.square()).argmin())]
    # directions without variance carry no coefficient
    inverse = torch.where(s > 1e-9 * s.max().clamp(min=1e-300), best / s.clamp(min=1e-300), 0)
    return vh.T @ (inverse.unsqueeze(1) * projected)
