"""Measures against scikit-learn, with cases repeated as often as they weigh."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, recall_score, roc_curve

from frerec.study.measures import (
    BINS,
    METRICS,
    SPECIFICITY,
    Predictions,
    choose_thresholds,
)


def predicted(seed: int, n: int = 150, classes: int = 2, positive: int = 1) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(n) < 0.2, positive, rng.integers(0, classes, n))
    logits = rng.normal(size=(n, classes)) + 1.2 * np.eye(classes)[labels]
    odds = np.exp(logits).round(1) + 0.05
    return Predictions(odds / odds.sum(1, keepdims=True), labels, positive)


@pytest.mark.parametrize("classes", [2, 3])
def test_measures_of_one_class_are_those_of_scikit_learn(classes: int) -> None:
    positive = classes - 1
    validation, test = (predicted(seed, classes=classes, positive=positive) for seed in (0, 1))
    thresholds = choose_thresholds(validation.probabilities, validation.labels, positive)
    test = Predictions(test.probabilities, test.labels, positive, thresholds)
    weights = np.random.default_rng(2).integers(0, 3, (4, 150))
    found = {name: METRICS[name](test, weights) for name in ("average_precision", "balanced_accuracy", "sensitivity")}
    scores = test.probabilities[:, positive]
    for draw, weight in enumerate(weights):
        s, y = np.repeat(scores, weight), np.repeat(test.labels == positive, weight)
        expected = {
            "average_precision": average_precision_score(y, s),
            "balanced_accuracy": balanced_accuracy_score(y, s >= thresholds["balanced_accuracy"]),
            "sensitivity": recall_score(y, s >= thresholds["sensitivity"]),
        }
        assert {name: found[name][draw] for name in found} == pytest.approx(expected, abs=1e-9)


def test_thresholds_are_the_best_of_the_validation_set() -> None:
    validation = predicted(3)
    scores, y = validation.probabilities[:, 1], validation.labels == 1
    found = choose_thresholds(validation.probabilities, validation.labels, 1)
    alarms, hits, cuts = roc_curve(y, scores, drop_intermediate=False)
    best = max(balanced_accuracy_score(y, scores >= cut) for cut in np.unique(scores))
    assert balanced_accuracy_score(y, scores >= found["balanced_accuracy"]) == pytest.approx(best)
    assert np.mean(scores[~y] < found["sensitivity"]) >= SPECIFICITY
    assert np.mean(scores[y] >= found["sensitivity"]) == pytest.approx(hits[alarms <= 1 - SPECIFICITY].max())
    assert found["sensitivity"] in cuts


def test_a_class_that_is_never_found_leaves_finite_thresholds() -> None:
    scores = np.array([0.9] * 10 + [0.1] * 3)
    found = choose_thresholds(np.stack([1 - scores, scores], 1), np.array([0] * 10 + [1] * 3), 1)
    assert found["sensitivity"] > 1


def test_calibration_error_by_hand() -> None:
    # four certain cases of which one is wrong: .25; two at .6, both right: .4
    p = np.array([0.999, 0.999, 0.999, 0.001, 0.6, 0.6])
    labels = np.array([1, 1, 0, 0, 1, 1])
    found = METRICS["calibration_error"](Predictions(np.stack([1 - p, p], 1), labels), np.ones((1, 6)))
    assert found[0] == pytest.approx((4 * abs(0.999 - 0.75) + 2 * 0.4) / 6)
    assert BINS == 15


def test_a_calibrated_classifier_has_a_small_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    labels = (rng.random(20_000) < p).astype(int)
    over = np.clip(0.5 + 2 * (p - 0.5), 0, 1)
    errors = [
        METRICS["calibration_error"](Predictions(np.stack([1 - q, q], 1), labels), np.ones((1, 20_000)))[0]
        for q in (p, over)
    ]
    assert errors[0] < 0.02
    assert errors[1] > 0.1
