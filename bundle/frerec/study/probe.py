"""A shortcut probe: how far does a classifier look at where an image comes from instead of what it shows?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from frerec.report.statistics import weighted_auc
from frerec.spectrum.bands import default_rings, hermitian_weights, ring_index, ring_mean
from frerec.spectrum.fourier import irfftn, rfftn
from frerec.study.cohort import Case

#: Synthetic images of the probe: so many that the classifier has not seen are enough, and so many are looked at.
FEWEST, MOST = 20, 200
#: Amplification beyond this would make noise of rounding.
_MOST = 10.0


def cases_to_show(pool: Sequence[Case], used: Sequence[Case]) -> list[Case]:
    """Synthetic cases for the probe, of those that were not used in training if there are enough."""
    trained_on = {case.image for case in used}
    unseen = [case for case in pool if case.image not in trained_on]
    return list(unseen if len(unseen) >= FEWEST else pool)[:MOST]


def transfer(real: torch.Tensor, synthetic: torch.Tensor) -> torch.Tensor:
    """What the generator does to the radial spectrum: amplitude of synthetic over real images.

    Args:
        real: (N, C, *spatial) in [0, 1].
        synthetic: (M, C, *spatial) of the same size.

    Returns:
        float32 (R,) gain of each ring, 1 at zero frequency.
    """
    shape = real.shape[2:]
    rings = ring_index(shape)
    power = []
    for images in (synthetic, real):
        spectra = torch.stack([rfftn(image, len(shape)).abs().square().mean(0) for image in images.float()])
        power.append(ring_mean(spectra.mean(0), rings, hermitian_weights(shape), default_rings(shape)))
    gain = (power[0] / power[1].clamp(min=1e-12)).sqrt().nan_to_num(1.0).clamp(max=_MOST)
    gain[0] = 1.0
    return gain


def through_generator(images: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Images (N, C, *spatial) with the spectrum filtered by :func:`transfer`, clipped to [0, 1]."""
    shape = images.shape[2:]
    filtered = [irfftn(rfftn(image, len(shape)) * gain[ring_index(shape)], shape) for image in images.float()]
    return torch.stack(filtered).clamp(0, 1)


def shortcut_probe(
    predict: Callable[[torch.Tensor], NDArray[np.float64]],
    test: torch.Tensor,
    labels: torch.Tensor,
    real: torch.Tensor,
    synthetic: torch.Tensor,
    positive: int,
) -> dict[str, float]:
    """How the score of one class follows the source.

    Args:
        predict: probabilities (N, C) of images (N, C, *spatial).
        test: real test images.
        labels: (N,) their classes.
        real: real training images of the class.
        synthetic: synthetic images of the class.
        positive: the class.

    Returns:
        ``source``: AUC of the score between synthetic images and real test images of the class; ``filtered``: between
        real test images of the other classes passed through the generator's filter and as they are. 0.5: the source
        does not matter, 1: it decides.
    """
    others, own = test[labels != positive].float(), test[labels == positive].float()
    filtered = through_generator(others, transfer(real, synthetic))
    pairs = {"source": (synthetic.float(), own), "filtered": (filtered, others)}
    return {name: _auc(*(predict(images)[:, positive] for images in pair)) for name, pair in pairs.items()}


def _auc(high: NDArray[np.float64], low: NDArray[np.float64]) -> float:
    positive = np.repeat([True, False], [len(high), len(low)])
    return float(weighted_auc(np.concatenate([high, low]), positive, np.ones((1, len(positive))))[0])
