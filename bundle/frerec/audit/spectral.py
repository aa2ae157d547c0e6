"""Spectral measures: radial spectra, the gap between two sets, and the two-dimensional difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric, Metric
from scipy.ndimage import median_filter
from torch.nn.functional import interpolate

from frerec.report.statistics import Interval, bootstrap_weights
from frerec.spectrum.fourier import periodic_spectrum
from frerec.spectrum.power import POWER_FLOOR, radial_power, spectral_gap


class RadialSpectrumMetric(CumulativeIterationMetric):
    """Radial power spectrum of every image; one short vector an image is kept.

    Args:
        spatial_dims: 2 or 3.
        n_rings: number of rings, the same for images of all sizes.
        window: border treatment, as in :func:`frerec.spectrum.power.radial_power`.
    """

    def __init__(self, spatial_dims: int = 2, n_rings: int = 128, window: str = "periodic") -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.n_rings = n_rings
        self.window = window

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Spectra (B, C, n_rings) in log10 power of images (B, C, *spatial) on a nominal [0, 1] range."""
        return radial_power(y_pred, self.spatial_dims, self.n_rings, self.window).float()

    def aggregate(self) -> torch.Tensor:
        """Mean spectrum over the images, (C, n_rings)."""
        return self.get_buffer().mean(0)


class SpectralGapMetric(Metric):
    """Spectral gap between two sets of radial spectra, with a bootstrap interval over images.

    The gap is the mean over rings of the absolute difference of the mean log10 radial power. It is never
    negative and, by chance alone, never quite 0; the gap between two halves of the real set shows how much
    chance makes (``floor`` in the audit).

    Args:
        band: rings with ``band[0] <= frequency < band[1]`` (fractions of Nyquist) count.
        draws: number of bootstrap samples.
        seed: seed of the bootstrap.
    """

    def __init__(self, band: tuple[float, float] = (0.0, float("inf")), draws: int = 1000, seed: int = 0) -> None:
        self.band = band
        self.draws = draws
        self.seed = seed

    def __call__(
        self,
        y_pred: torch.Tensor,
        y: torch.Tensor,
        frequencies: torch.Tensor,
        groups_pred: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> Interval:
        """Compare two sets.

        Args:
            y_pred: (N, C, R) log10 radial power.
            y: (M, C, R) of the reference set.
            frequencies: (R,) ring centres in fractions of Nyquist.
            groups_pred: (N,) names; images that share one are drawn together. None: every image by itself.
            groups: (M,) names.

        Returns:
            The gap in decades of power with its percentile bootstrap interval, corrected for the upward shift
            that resampling gives an absolute difference (basic bootstrap, cut at 0).
        """
        value = spectral_gap(y_pred, y, frequencies, self.band)
        chosen = ((frequencies >= self.band[0]) & (frequencies < self.band[1])).numpy()
        rng = np.random.default_rng(self.seed)
        means = []
        for x, names in ((y_pred, groups_pred), (y, groups)):
            weights = bootstrap_weights([str(i) for i in range(len(x))] if names is None else names, self.draws, rng)
            means.append(weights @ x.numpy()[..., chosen].reshape(len(x), -1) / weights.sum(1, keepdims=True))
        gaps = np.abs(means[0] - means[1]).mean(1)
        low, high = 2 * value - np.quantile(gaps, [0.975, 0.025])
        return Interval(value, max(float(low), 0.0), max(float(high), value), len(y_pred), len(y))


class SpectrumMapMetric(Metric):
    """Mean two-dimensional log10 power spectrum of a set, accumulated image by image.

    Only two maps are held however many images come. Images of any size land on the same grid of frequencies,
    -1 to 1 times Nyquist along both axes, zero frequency in the middle. Of a volume the middle slice counts.

    Args:
        size: side of the map.
    """

    def __init__(self, size: int = 128) -> None:
        self.size = size
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self.count = 0
        self.total = torch.zeros(self.size, self.size, dtype=torch.float64)
        self.square = torch.zeros(self.size, self.size, dtype=torch.float64)

    def __call__(self, y_pred: torch.Tensor, y: torch.Tensor | None = None) -> None:
        """Add images (B, C, H, W) on a nominal [0, 1] range; channels are averaged."""
        height, width = y_pred.shape[-2:]
        half = periodic_spectrum(y_pred, 2).abs().square().clamp(min=POWER_FLOOR).log10().mean(1)
        # the other half-plane is the point reflection of the stored one
        rows, columns = torch.arange(height), torch.arange(width // 2 + 1, width)
        rest = half[:, (-rows) % height][:, :, width - columns]
        full = torch.cat([half, rest], dim=2)
        full = torch.roll(full, (height // 2, width // 2), dims=(1, 2))
        # an even axis has its Nyquist row once; repeat it at the other end so that the map is symmetric
        if height % 2 == 0:
            full = torch.cat([full, full[:, :1]], dim=1)
        if width % 2 == 0:
            full = torch.cat([full, full[:, :, :1]], dim=2)
        grid = interpolate(full[:, None], (self.size, self.size), mode="area")[:, 0].double().cpu()
        self.count += len(grid)
        self.total += grid.sum(0)
        self.square += grid.square().sum(0)

    def merged(self, other: SpectrumMapMetric) -> SpectrumMapMetric:
        """The map of the images of both."""
        both = SpectrumMapMetric(self.size)
        both.count = self.count + other.count
        both.total, both.square = self.total + other.total, self.square + other.square
        return both

    def aggregate(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean map and the standard error of each of its points, both float64 (size, size)."""
        mean = self.total / max(self.count, 1)
        variance = (self.square / max(self.count, 1) - mean.square()).clamp(min=0) * self.count / max(self.count - 1, 1)
        return mean, (variance / max(self.count, 1)).sqrt()


def off_ring_excess(
    mean: torch.Tensor, error: torch.Tensor, other: torch.Tensor, other_error: torch.Tensor
) -> dict[str, Any]:
    """What of a two-dimensional difference spectrum a radial one cannot show: checkerboards, grids, directions.

    A grid makes isolated points, anatomy and borders make bars. So a point's height counts above the median of its
    neighbours along the rows and along the columns, whichever is less; a bar does not stand above itself.

    Args:
        mean: mean map (S, S) of one set from :class:`SpectrumMapMetric`.
        error: its standard error.
        other: mean map of the reference set.
        other_error: its standard error.

    Returns:
        ``difference`` (S, S) mean log10 power minus the reference's; ``angular`` the mean absolute difference left
        after taking each ring's median away, in decades; ``peak`` the height of the most certain isolated point in
        decades, ``peak_z`` in standard errors, ``peak_frequency`` (rows, columns; fractions of Nyquist), and
        ``peak_period``, its period in pixels.
    """
    difference = mean - other
    size = len(difference)
    step = (torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1
    distance = (step[:, None].square() + step[None].square()).sqrt()
    ring = (distance * size / 4).long()
    rest = difference.clone()
    for index in ring.unique():
        rest[ring == index] -= difference[ring == index].median()
    values = difference.numpy()
    across = [values - median_filter(values, window, mode="reflect") for window in ((1, 9), (9, 1))]
    height = torch.from_numpy(np.minimum(*across))
    # very low frequencies differ with every patient's pose; artefacts of upsampling lie further out
    outside = distance > 0.1
    z = height / (error.square() + other_error.square()).sqrt().clamp(min=1e-6)
    row, column = divmod(int(torch.where(outside, z, z.min()).argmax()), size)
    frequency = float(step[row]), float(step[column])
    return {
        "difference": difference,
        "angular": float(rest[outside].abs().mean()),
        "peak": float(height[row, column]),
        "peak_z": float(z[row, column]),
        "peak_frequency": [round(value, 3) for value in frequency],
        "peak_period": round(2 / max(float(np.hypot(*frequency)), 1e-6), 2),
    }
