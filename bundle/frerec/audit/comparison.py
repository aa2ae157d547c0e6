"""Everything an audit measures between two groups of images."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from frerec.audit.artefacts import RINGING
from frerec.audit.collector import Group, GroupCollector, Part
from frerec.audit.cross_validation import FEWEST, DetectorMetric
from frerec.audit.detector import run_detectors
from frerec.audit.distribution import distribution_measures
from frerec.audit.spectral import SpectralGapMetric, off_ring_excess
from frerec.report.statistics import mean_difference
from frerec.spectrum.power import ring_frequencies

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ComparisonSettings:
    """How two groups are compared.

    Attributes:
        mask_ratio: where the high band begins, in fractions of Nyquist.
        spatial_dims: 2 or 3.
        draws: bootstrap samples of every interval.
        cnn_steps: training steps of each convolutional detector; 0 leaves them out.
        device: where they train.
        seed: seed of folds, bootstrap and training.
    """

    mask_ratio: float = 0.1
    spatial_dims: int = 2
    draws: int = 1000
    cnn_steps: int = 600
    device: str = "cpu"
    seed: int = 0


def compare(
    judged: Group | Part, reference: Group | Part, settings: ComparisonSettings, cnn: bool = True
) -> dict[str, Any]:
    """Measure how one group differs from another.

    Args:
        judged: the group in question, for example the synthetic images.
        reference: what it is held against.
        settings: how.
        cnn: run the convolutional detectors too.

    Returns:
        Plain dict: ``n``, ``n_reference``; ``gap`` (``whole``, ``high``), and where there are enough images
        ``detector`` (``radial_high`` on the periodic component, as the method sees it, and those of
        :func:`frerec.audit.detector.detect`), each a dict of :class:`frerec.report.statistics.Interval`. Where both
        sides have images also ``ringing`` (``edges``, ``borders``: intervals of the difference), ``distribution`` and
        ``map``, which holds the difference spectrum as a tensor.
    """
    result: dict[str, Any] = {"n": len(judged), "n_reference": len(reference)}
    a, b = judged.radial(), reference.radial()
    frequencies = ring_frequencies(a.shape[-1], settings.spatial_dims)
    groups = judged.fold_groups(), reference.fold_groups()
    result["gap"] = {
        name: SpectralGapMetric(band, settings.draws, settings.seed)(a, b, frequencies, *groups).asdict()
        for name, band in (("whole", (0.0, float("inf"))), ("high", (settings.mask_ratio, float("inf"))))
    }
    x, y = judged.looks(), reference.looks()
    if min(len(judged), len(reference)) < FEWEST:
        logger.warning("%d and %d images are too few for a detector", len(judged), len(reference))
    else:
        metric = DetectorMetric(draws=settings.draws, seed=settings.seed)
        chosen = frequencies >= settings.mask_ratio
        found = {"radial_high": metric(a[..., chosen], b[..., chosen], *groups)}
        if x and y:
            steps = settings.cnn_steps if cnn else 0
            found.update(run_detectors(x, y, *groups, steps, settings.device, settings.draws, settings.seed))
        result["detector"] = {name: auc.asdict() for name, auc in found.items()}
    if isinstance(judged, GroupCollector | Part) and isinstance(reference, GroupCollector | Part) and x and y:
        own, other = judged.ringing(), reference.ringing()
        result["ringing"] = {
            name: mean_difference(own[:, i], other[:, i], *groups, settings.draws, settings.seed).asdict()
            for i, name in enumerate(RINGING)
            if np.isfinite(own[:, i]).any() and np.isfinite(other[:, i]).any()
        }
        result["map"] = off_ring_excess(*judged.spectrum_map(), *reference.spectrum_map())
        result["distribution"] = distribution_measures(
            judged.feature_matrix(), reference.feature_matrix(), settings.seed
        )
    return result


def chance(real: Group, training: GroupCollector, settings: ComparisonSettings) -> dict[str, Any] | None:
    """Real images against real ones, which nothing should tell apart: what chance makes of every measure.

    Args:
        real: the real images of the audit.
        training: other real images; as many of them are taken. Where there are too few, ``real`` is halved.
        settings: as of the other comparisons.

    Returns:
        As :func:`compare`, with ``between`` in words; None where there are fewer than four images. Features were
        learnt from the training images, so distances between features are those of two halves.
    """
    if len(real) < 4:
        return None
    halves = Part.halves(real)
    if isinstance(real, GroupCollector) and len(training) >= FEWEST:
        found = compare(Part.sample(training, len(real)), real, settings)
        one, other = (half.feature_matrix() for half in halves)
        found["distribution"] = distribution_measures(one, other, settings.seed)
        return {"between": "real training images and the real images", **found}
    return {"between": "two halves of the real images", **compare(*halves, settings)}


def spectrum_bands(spectra: torch.Tensor) -> dict[str, list[float]]:
    """Mean and the 5th, 25th, 75th and 95th percentile over images of spectra (N, C, R), channels averaged."""
    values = spectra.double().mean(1).numpy()
    bands = np.quantile(values, [0.05, 0.25, 0.75, 0.95], axis=0)
    result = {"mean": values.mean(0).tolist()}
    result.update({name: band.tolist() for name, band in zip(("p05", "p25", "p75", "p95"), bands, strict=True)})
    return result
