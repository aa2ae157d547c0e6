"""The distribution a generator starts from: a Gaussian that already has the data's mean and main directions."""

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
        n_classes: number of classes that have a mean of their own; the components are then those within classes. 0
            for one mean of all.
    """

    mean: torch.Tensor
    class_offsets: torch.Tensor
    components: torch.Tensor
    residual: torch.Tensor

    def __init__(self, shape: Sequence[int], n_components: int = 96, n_classes: int = 0) -> None:
        super().__init__()
        self.n_classes = n_classes
        if n_classes:
            self.register_buffer("class_offsets", torch.zeros(n_classes, *shape))
        self.register_buffer("mean", torch.zeros(*shape))
        self.register_buffer("components", torch.zeros(n_components, *shape))
        self.register_buffer("residual", torch.ones(()))

    def fit(
        self, items: Iterable[Mapping[str, torch.Tensor]], key: str = "latent", label_key: str = "label"
    ) -> GaussianSource:
        """Fit to the latents of a dataset.

        Args:
            items: dictionaries that hold latents (C, H, W) under ``key``.
            key: as above.
            label_key: key of the class indices, where classes have means of their own.

        Returns:
            The source itself.

        Raises:
            FreRecError: fewer latents than components, or a class without any.
        """
        rows = [(torch.as_tensor(item[key]).flatten(), int(item[label_key]) if self.n_classes else 0) for item in items]
        table, labels = torch.stack([row for row, _ in rows]).double().cpu(), torch.tensor([label for _, label in rows])
        kept = len(self.components)
        if len(table) <= kept:
            raise FreRecError(
                f"{len(table)} training images for {kept} principal components. Give more images or lower n_components."
            )
        mean = table.mean(0)
        for label in range(self.n_classes):
            chosen = labels == label
            if not chosen.any():
                raise FreRecError(f"no training image of class number {label}. Name only classes that have images.")
            offset = table[chosen].mean(0) - mean
            self.class_offsets[label].copy_(offset.view(self.mean.shape))
            table[chosen] -= offset
        _, scales, axes = torch.linalg.svd(table - mean, full_matrices=False)
        variances = scales.square() / (len(table) - 1)
        rest = variances[kept:].sum() / (table.shape[1] - kept)
        loadings = axes[:kept] * (variances[:kept] - rest).clamp(min=0).sqrt()[:, None]
        self.mean.copy_(mean.view(self.mean.shape))
        self.components.copy_(loadings.view(self.components.shape))
        self.residual.copy_(rest.sqrt())
        return self

    def forward(
        self,
        count: int,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        label: int | None = None,
    ) -> torch.Tensor:
        """Draw latents.

        Args:
            count: how many.
            generator: CPU generator, for the same draw on every device; None for the device's own.
            temperature: scale of the residual noise; 1 for the fitted distribution.
            label: class whose mean to use, where classes have means of their own; None for the mean of all.

        Returns:
            (count, C, H, W).
        """
        device = self.mean.device
        drawn_on = "cpu" if generator is not None else device
        weights = torch.randn(count, len(self.components), generator=generator, device=drawn_on).to(device)
        rest = torch.randn(count, *self.mean.shape, generator=generator, device=drawn_on).to(device)
        mean = self.mean if label is None else self.mean + self.class_offsets[label]
        return mean + torch.einsum("nk,kchw->nchw", weights, self.components) + temperature * self.residual * rest
