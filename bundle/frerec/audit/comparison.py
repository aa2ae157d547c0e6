"""Everything an audit measures between two groups of images."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from frerec.audit.cnn import FitCNN
from frerec.audit.collector import WINDOWS, BankSpectra, GroupCollector
from frerec.audit.detector import FEWEST, DetectorMetric
from frerec.audit.distribution import distribution_measures
from frerec.audit.spectral import SpectralGapMetric, off_ring_excess
from frerec.errors import FreRecError
from frerec.spectrum.power import ring_frequencies

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ComparisonSettings:
    """How two groups are compared.

    Attributes:
        mask_ratio: where the high band begins, in fractions of Nyquist.
        spatial_dims: 2 or 3.
        draws: bootstrap samples of every interval.
        cnn_epochs: epochs of the convolutional detector; 0 leaves it out.
        device: where it trains.
        seed: seed of folds, bootstrap and training.
    """

    mask_ratio: float = 0.5
    spatial_dims: int = 2
    draws: int = 1000
    cnn_epochs: int = 6
    device: str = "cpu"
    seed: int = 0


Group = GroupCollector | BankSpectra


class Half:
    """Every image of a group whose name falls on one side of a coin; the two halves are the floor of chance.

    Args:
        whole: the group.
        side: 0 or 1.
    """

    def __init__(self, whole: Group, side: int) -> None:
        self.whole = whole
        groups = whole.fold_groups()
        # by rank of a hash, so that the halves are of equal size; patients stay whole but for one at the seam
        order = sorted(range(len(groups)), key=lambda i: (hashlib.sha256(groups[i].encode()).digest(), i))
        self.index = torch.tensor(sorted(order[: len(order) // 2] if side == 0 else order[len(order) // 2 :]))

    def __len__(self) -> int:
        return len(self.index)

    def radial(self, window: str) -> torch.Tensor:
        """Radial spectra of this half, (N, C, R)."""
        return self.whole.radial(window)[self.index]

    def feature_matrix(self) -> torch.Tensor:
        """Features of this half, (N, F)."""
        if not isinstance(self.whole, GroupCollector):
            raise FreRecError("a bank holds spectra, not images, so it has no features. Give real_dir.")
        return self.whole.feature_matrix()[self.index]

    def fold_groups(self) -> list[str]:
        """Names that stay together in cross-validation."""
        groups = self.whole.fold_groups()
        return [groups[i] for i in self.index.tolist()]


def compare(judged: Group | Half, reference: Group | Half, settings: ComparisonSettings) -> dict[str, Any]:
    """Measure how one group differs from another.

    Args:
        judged: the group in question, for example the synthetic images.
        reference: what it is held against.
        settings: how.

    Returns:
        Plain dict: ``n``, ``n_reference``; ``gap`` (``whole``, ``high``) and ``detector`` (``radial_whole``,
        ``radial_high``, the same with ``_hann``, and ``cnn``), each a dict of
        :class:`frerec.audit.spectral.Interval`; ``distribution`` and ``map`` where both sides have images.
        ``map`` holds the difference spectrum as a tensor.
    """
    result: dict[str, Any] = {"n": len(judged), "n_reference": len(reference)}
    high = (settings.mask_ratio, float("inf"))
    has_images = not isinstance(judged, BankSpectra) and not _from_bank(reference)
    a, b = judged.radial("periodic"), reference.radial("periodic")
    frequencies = ring_frequencies(a.shape[-1], settings.spatial_dims)
    groups = judged.fold_groups(), reference.fold_groups()
    result["gap"] = {
        name: SpectralGapMetric(band, settings.draws, settings.seed)(a, b, frequencies, *groups).asdict()
        for name, band in (("whole", (0.0, float("inf"))), ("high", high))
    }
    if min(len(judged), len(reference)) < FEWEST:
        logger.warning("%d and %d images are too few for a detector", len(judged), len(reference))
        return result
    detector: dict[str, Any] = {}
    metric = DetectorMetric(draws=settings.draws, seed=settings.seed)
    chosen = frequencies >= settings.mask_ratio
    for window in WINDOWS if has_images else WINDOWS[:1]:
        ending = "" if window == WINDOWS[0] else f"_{window}"
        a, b = judged.radial(window), reference.radial(window)
        detector[f"radial_whole{ending}"] = metric(a, b, *groups).asdict()
        detector[f"radial_high{ending}"] = metric(a[..., chosen], b[..., chosen], *groups).asdict()
    if isinstance(judged, GroupCollector) and isinstance(reference, GroupCollector):
        if settings.cnn_epochs and judged.settings.cnn_images:
            detector["cnn"] = _cnn(judged, reference, settings).asdict()
        first, second = judged.map.aggregate(), reference.map.aggregate()
        result["map"] = off_ring_excess(*first, *second)
    result["detector"] = detector
    if has_images and not isinstance(judged, BankSpectra) and not isinstance(reference, BankSpectra):
        result["distribution"] = distribution_measures(
            judged.feature_matrix(), reference.feature_matrix(), settings.seed
        )
    return result


def _from_bank(group: Group | Half) -> bool:
    return isinstance(group.whole if isinstance(group, Half) else group, BankSpectra)


def _cnn(judged: GroupCollector, reference: GroupCollector, settings: ComparisonSettings) -> Any:
    (x, names), (y, reference_names) = judged.reservoir.contents(), reference.reservoir.contents()
    fit = FitCNN(settings.cnn_epochs, device=settings.device)
    metric = DetectorMetric(fit, n_splits=3, repeats=1, draws=settings.draws, seed=settings.seed)
    of_judged, of_reference = (
        dict(zip((item["name"] for item in group.items), group.fold_groups(), strict=True))
        for group in (judged, reference)
    )
    return metric(x, y, [of_judged[n] for n in names], [of_reference[n] for n in reference_names])


def spectrum_bands(spectra: torch.Tensor) -> dict[str, list[float]]:
    """Mean and the 5th, 25th, 75th and 95th percentile over images of spectra (N, C, R), channels averaged."""
    values = spectra.double().mean(1).numpy()
    bands = np.quantile(values, [0.05, 0.25, 0.75, 0.95], axis=0)
    result = {"mean": values.mean(0).tolist()}
    result.update({name: band.tolist() for name, band in zip(("p05", "p25", "p75", "p95"), bands, strict=True)})
    return result
