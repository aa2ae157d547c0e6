"""Measures of a classifier on the test set, each for many weightings of the cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from frerec.report.statistics import over_thresholds, weighted_auc

Array = NDArray[np.float64]
Weights = NDArray[np.floating]

#: Specificity at which sensitivity is reported.
SPECIFICITY = 0.9
#: Bins of equal width for the calibration error (Guo et al., "On calibration of modern neural networks", ICML 2017).
BINS = 15


@dataclass(frozen=True)
class Predictions:
    """What one run says of the test set.

    Attributes:
        probabilities: (N, C).
        labels: (N,) class numbers from 0 to C - 1.
        positive: the class that is looked for (the rare one, or the second of two); None where there is none.
        thresholds: by measure, the probability of ``positive`` from which a case counts as positive; chosen on the
            validation set by :func:`choose_thresholds`.
    """

    probabilities: Array
    labels: NDArray[np.int64]
    positive: int | None = None
    thresholds: dict[str, float] = field(default_factory=dict)


def macro_auc(probabilities: Array, labels: NDArray[np.int64], weights: Weights | None = None) -> Array:
    """AUC of two classes, or the unweighted mean of the one-versus-rest AUCs of more.

    Args:
        probabilities: (N, C), a row per case.
        labels: (N,) class numbers from 0 to C - 1.
        weights: (B, N) not negative, how often each case counts; None for one weighting that counts every case once.

    Returns:
        (B,) areas.
    """
    weights = np.ones((1, len(labels))) if weights is None else weights
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    return np.mean([weighted_auc(probabilities[:, c], labels == c, weights) for c in classes], axis=0)


def accuracy(probabilities: Array, labels: NDArray[np.int64], weights: Weights | None = None) -> Array:
    """Share of cases whose most probable class is the true one; arguments and result as in :func:`macro_auc`."""
    weights = np.ones((1, len(labels))) if weights is None else weights.astype(np.float64)
    return weights @ (probabilities.argmax(1) == labels) / weights.sum(1)


def average_precision(found: Predictions, weights: Weights) -> Array:
    """Mean precision over the recalls of the positive class, without interpolation, as scikit-learn has it; (B,)."""

    def area(up: Array, down: Array) -> Array:
        # from the highest threshold down
        hits, alarms = up[:, ::-1].cumsum(1), down[:, ::-1].cumsum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(hits + alarms > 0, hits / (hits + alarms), 0.0)
            return (up[:, ::-1] * precision).sum(1) / up.sum(1)

    return over_thresholds(*_binary(found), weights, area)


def sensitivity(found: Predictions, weights: Weights) -> Array:
    """Sensitivity at the threshold that gave :data:`SPECIFICITY` on the validation set; (B,)."""
    return _rates(found, "sensitivity", weights)[0]


def balanced_accuracy(found: Predictions, weights: Weights) -> Array:
    """Mean of sensitivity and specificity at the threshold that was best for it on the validation set; (B,)."""
    return np.mean(_rates(found, "balanced_accuracy", weights), axis=0)


def calibration_error(found: Predictions, weights: Weights) -> Array:
    """Expected calibration error: mean distance of confidence and accuracy over :data:`BINS` bins; (B,)."""
    confidence, weights = found.probabilities.max(1), weights.astype(np.float64)
    right = found.probabilities.argmax(1) == found.labels
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    member = np.eye(BINS)[place]
    distance = np.abs((weights * (confidence - right)) @ member)
    return distance.sum(1) / weights.sum(1)


def _binary(found: Predictions) -> tuple[Array, NDArray[np.bool_]]:
    positive = 1 if found.positive is None else found.positive
    return found.probabilities[:, positive], found.labels == positive


def _rates(found: Predictions, measure: str, weights: Weights) -> tuple[Array, Array]:
    scores, positive = _binary(found)
    called, weights = scores >= found.thresholds[measure], weights.astype(np.float64)
    return (
        weights @ (called & positive) / (weights @ positive),
        weights @ (~called & ~positive) / (weights @ ~positive),
    )


def choose_thresholds(probabilities: Array, labels: NDArray[np.int64], positive: int) -> dict[str, float]:
    """The thresholds of the measures that need one, from the validation set.

    Args:
        probabilities: (N, C) of the validation set.
        labels: (N,).
        positive: the class that is looked for.

    Returns:
        ``balanced_accuracy``: the best (of equals the lowest); ``sensitivity``: the lowest with a specificity of at
        least :data:`SPECIFICITY`.
    """
    scores, is_positive = probabilities[:, positive], labels == positive
    candidates = np.append(np.unique(scores), np.inf)
    called = scores[:, None] >= candidates
    hits, passed = called[is_positive].mean(0), (~called[~is_positive]).mean(0)
    return {
        "balanced_accuracy": _finite(candidates[np.argmax(hits + passed)]),
        "sensitivity": _finite(candidates[np.argmax(passed >= SPECIFICITY)]),
    }


def _finite(threshold: float) -> float:
    # above every probability there is; JSON has no infinity
    return float(min(threshold, 2.0))


#: name -> measure of predictions under case weights (B, N); (B,).
METRICS: dict[str, Callable[[Predictions, Weights], Array]] = {
    "auc": lambda found, weights: macro_auc(found.probabilities, found.labels, weights),
    "accuracy": lambda found, weights: accuracy(found.probabilities, found.labels, weights),
    "average_precision": average_precision,
    "balanced_accuracy": balanced_accuracy,
    "sensitivity": sensitivity,
    "calibration_error": calibration_error,
}
#: Those that need a class that is looked for.
OF_ONE_CLASS = ("average_precision", "balanced_accuracy", "sensitivity")
#: The one that less is better of.
LESS_IS_BETTER = ("calibration_error",)
