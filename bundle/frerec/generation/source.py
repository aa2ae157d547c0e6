"""The distribution a flow starts from: a Gaussian that already has the data's mean and main directions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn

from frerec.errors import FreRecError


class GaussianSource(nn.Module):
    """Gaussian with the empirical mean, the leading principal components and one residual variance.

    Probabilistic principal component analysis (M. Tipping and C. Bishop, 1999) of the training latents. A rectified
    flow may start anywhere; from here its draws begin as blurred chests instead of white noise, and a small
    network needs a fraction of the steps to learn the rest.

    Args:
        shape: shape (C, H, W) of a latent.
        n_components: principal components kept.
    """

    mean: torch.Tensor
    components: torch.Tensor
    residual: torch.Tensor

    def __init__(self, shape: Sequence[int], n_components: int = 96) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(*shape))
        self.register_buffer("components", torch.zeros(n_components, *shape))
        self.register_buffer("residual", torch.ones(()))

    def fit(self, items: Iterable[Mapping[str, torch.Tensor]], key: str = "latent") -> GaussianSource:
        """Fit to the latents of a dataset.

        Args:
            items: dictionaries that hold latents (C, H, W) under ``key``.
            key: as above.

        Returns:
            The source itself.

        Raises:
            FreRecError: fewer latents than components.
        """
        table = torch.stack([torch.as_tensor(item[key]).flatten() for item in items]).double().cpu()
        kept = len(self.components)
        if len(table) <= kept:
            raise FreRecError(
                f"{len(table)} training images for {kept} principal components. Give more images or lower n_components."
            )
        mean = table.mean(0)
        _, scales, axes = torch.linalg.svd(table - mean, full_matrices=False)
        variances = scales.square() / (len(table) - 1)
        rest = variances[kept:].sum() / (table.shape[1] - kept)
        loadings = axes[:kept] * (variances[:kept] - rest).clamp(min=0).sqrt()[:, None]
        self.mean.copy_(mean.view(self.mean.shape))
        self.components.copy_(loadings.view(self.components.shape))
        self.residual.copy_(rest.sqrt())
        return self

    def forward(self, count: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> torch.Tensor:
        """Draw latents.

        Args:
            count: how many.
            generator: CPU generator, for the same draw on every device; None for the device's own.
            temperature: scale of the residual noise; 1 for the fitted distribution.

        Returns:
            (count, C, H, W).
        """
        device = self.mean.device
        drawn_on = "cpu" if generator is not None else device
        weights = torch.randn(count, len(self.components), generator=generator, device=drawn_on).to(device)
        rest = torch.randn(count, *self.mean.shape, generator=generator, device=drawn_on).to(device)
        return self.mean + torch.einsum("nk,kchw->nchw", weights, self.components) + temperature * self.residual * rest
