from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from frerec.report.statistics import bootstrap_weights, mean_difference, weighted_auc


def test_images_of_a_patient_are_drawn_together() -> None:
    weights = bootstrap_weights(["a", "a", "b", "c", "c", "c"], 50, np.random.default_rng(0))
    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert np.array_equal(weights[:, 3], weights[:, 5])
    assert np.all(weights[:, 0] + weights[:, 2] + weights[:, 3] == 3)


def test_no_sample_loses_a_class() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    weights = bootstrap_weights(range(5), 200, np.random.default_rng(0), labels)
    assert np.all(weights[:, :2].sum(1) == 2)
    assert np.all(weights[:, 2:].sum(1) == 3)
    assert len(np.unique(weights, axis=0)) > 10


@pytest.mark.parametrize("decimals", [1, 12])
def test_weighted_auc_is_that_of_scikit_learn_also_with_ties(decimals: int) -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.normal(size=61).round(decimals), rng.random(61) < 0.3
    weights = rng.integers(0, 4, size=(25, 61)).astype(float)
    expected = [roc_auc_score(positive, scores, sample_weight=w) for w in weights]
    np.testing.assert_allclose(weighted_auc(scores, positive, weights), expected, rtol=0, atol=1e-12)


def test_auc_equals_that_of_cases_repeated_as_often_as_they_weigh() -> None:
    rng = np.random.default_rng(0)
    scores, positive = np.round(rng.normal(size=60), 1), rng.random(60) < 0.4
    weights = rng.integers(0, 4, (5, 60))
    for found, weight in zip(weighted_auc(scores, positive, weights), weights, strict=True):
        assert found == pytest.approx(roc_auc_score(np.repeat(positive, weight), np.repeat(scores, weight)))
    assert np.isnan(weighted_auc(scores, positive, (~positive)[None].astype(float)))[0]


def test_a_difference_of_means_has_the_interval_of_scipy() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(0.4, 1, 80), rng.normal(0, 2, 60)
    names = [[f"{side}{i}" for i in range(n)] for side, n in (("x", 80), ("y", 60))]
    found = mean_difference(x, y, *names, draws=4000, seed=0)
    known = stats.bootstrap((x, y), lambda a, b, axis=-1: a.mean(axis) - b.mean(axis), method="percentile")
    assert found.value == pytest.approx(x.mean() - y.mean())
    assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval), abs=0.06)
    x[:10] = np.nan
    assert mean_difference(x, y, *names, draws=10, seed=0).n == 70
