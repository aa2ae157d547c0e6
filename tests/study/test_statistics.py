"""The statistics against scikit-learn, DeLong's variance, and known chances."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from frerec.errors import FreRecError
from frerec.report.statistics import bootstrap_weights
from frerec.study.measures import Predictions, accuracy, macro_auc
from frerec.study.statistics import Replicates, average, holm, replicate, resample_seeds


def predictions(
    rng: np.random.Generator, n: int, signal: float = 1.0, classes: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % classes
    logits = rng.normal(size=(n, classes)) + signal * np.eye(classes)[labels]
    odds = np.exp(logits)
    return odds / odds.sum(1, keepdims=True), labels


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_macro_auc_and_accuracy_are_those_of_scikit_learn(classes: int) -> None:
    probabilities, labels = predictions(np.random.default_rng(classes), 90, classes=classes)
    scores = probabilities[:, 1] if classes == 2 else probabilities
    expected = roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert macro_auc(probabilities, labels)[0] == pytest.approx(expected, abs=1e-12)
    assert accuracy(probabilities, labels)[0] == pytest.approx(accuracy_score(labels, probabilities.argmax(1)))


def delong_variance(a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> float:
    """Variance of the difference of two AUCs on the same cases (DeLong, DeLong and Clarke-Pearson 1988)."""
    kernel = [
        (s[labels == 1][:, None] > s[labels == 0]) + 0.5 * (s[labels == 1][:, None] == s[labels == 0]) for s in (a, b)
    ]
    by_positive = kernel[0].mean(1) - kernel[1].mean(1)
    by_negative = kernel[0].mean(0) - kernel[1].mean(0)
    return float(by_positive.var(ddof=1) / len(by_positive) + by_negative.var(ddof=1) / len(by_negative))


def test_standard_error_of_a_paired_difference_is_delongs() -> None:
    rng = np.random.default_rng(1)
    first, labels = predictions(rng, 240)
    second = 0.6 * first + 0.4 * predictions(rng, 240)[0]
    weights = bootstrap_weights(np.arange(240), 4000, rng, labels)
    a, b = (replicate({0: Predictions(p, labels)}, weights, 240) for p in (first, second))
    expected = delong_variance(first[:, 1], second[:, 1], labels) ** 0.5
    assert (a - b).estimate().standard_error == pytest.approx(expected, rel=0.06)
    # Paired, it is well below what two independent test sets would give.
    assert expected < 0.8 * np.hypot(a.estimate().standard_error, b.estimate().standard_error)


def test_patients_are_drawn_whole_and_no_class_is_lost() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 1])
    clusters = np.array([5, 5, 2, 7, 7, 3, 9, 9])
    weights = bootstrap_weights(clusters, 500, np.random.default_rng(0), labels)
    for patient in np.unique(clusters):
        drawn = weights[:, clusters == patient]
        assert (drawn == drawn[:, :1]).all()
    assert (weights[:, 6] == 1).all(), "the only patient of both classes is a stratum of its own"
    assert (weights[:, labels == 0].sum(1) > 0).all()
    assert (weights[:, labels == 1].sum(1) > 0).all()
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.15)


def test_ignoring_patients_would_flatter_the_interval() -> None:
    rng = np.random.default_rng(2)
    probabilities, labels = predictions(rng, 60)
    probabilities, labels = np.repeat(probabilities, 4, axis=0), np.repeat(labels, 4)
    clusters = np.repeat(np.arange(60), 4)
    errors = []
    for units in (clusters, np.arange(240)):
        weights = bootstrap_weights(units, 1500, rng, labels)
        errors.append(
            replicate({0: Predictions(probabilities, labels)}, weights, len(set(units))).estimate().standard_error
        )
    assert errors[0] == pytest.approx(2 * errors[1], rel=0.15)


def test_seed_draws_give_the_unbiased_variance_of_a_mean() -> None:
    values = np.array([0.81, 0.86, 0.79, 0.84, 0.9])
    weights = resample_seeds(5, 200_000, np.random.default_rng(0))
    np.testing.assert_allclose(weights.sum(1), 1)
    assert (weights @ values).var() == pytest.approx(values.var(ddof=1) / 5, rel=0.02)
    assert (resample_seeds(1, 3, np.random.default_rng(0)) == 1).all()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Two equally good arms, five seeds that vary, test cases that arms share: no difference in 95 of 100 studies."""
    rng = np.random.default_rng(3)
    n, seeds, studies, held, false_alarms = 60, 5, 150, 0, 0
    labels = np.arange(n) % 2
    for _ in range(studies):
        case = 0.6 * rng.normal(size=n)
        arms = []
        for _ in range(2):
            own = 0.5 * rng.normal(size=n)
            skill = 1.2 + 0.3 * rng.normal(size=seeds)
            scores = labels * skill[:, None] + case + own + 0.6 * rng.normal(size=(seeds, n))
            weights = bootstrap_weights(np.arange(n), 250, np.random.default_rng(7), labels)
            two = np.stack([-scores, scores], axis=-1)
            arms.append(replicate({seed: Predictions(p, labels) for seed, p in enumerate(two)}, weights, n))
        found = (arms[0] - arms[1]).estimate()
        held += found.low <= 0 <= found.high
        false_alarms += found.p < 0.05
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
    # Exact coverage would give 142.5 of 150 with a standard deviation of 2.7; erring on the safe side is meant.
    assert held >= 136
    assert false_alarms <= 14


def test_equal_arms_do_not_differ_and_bounds_cut_off() -> None:
    probabilities, labels = predictions(np.random.default_rng(4), 40, signal=4.0)
    weights = bootstrap_weights(np.arange(40), 300, np.random.default_rng(0), labels)
    arm = replicate(dict.fromkeys((0, 1), Predictions(probabilities, labels)), weights, 40)
    assert (arm - arm).estimate().p == 1
    assert arm.estimate((0, 1)).high <= 1


def test_only_common_seeds_are_compared() -> None:
    parts = [
        Replicates(seeds, np.array(values), np.tile(values, (10, 1)), 30)
        for seeds, values in (((0, 1, 2), [0.5, 0.6, 0.7]), ((1, 2, 5), [0.5, 0.5, 0.9]))
    ]
    difference = parts[0] - parts[1]
    assert difference.seeds == (1, 2)
    np.testing.assert_allclose(difference.per_seed, [0.1, 0.2])
    np.testing.assert_allclose(average(parts).per_seed, [0.55, 0.6])
    with pytest.raises(FreRecError, match="common seed"):
        average([parts[0].of([0]), parts[1]])


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04, and never smaller than the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []
