from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from frerec.audit.cross_validation import DetectorMetric, fold_auc, grouped_folds
from frerec.errors import FreRecError


def gaussian(n: int, seed: int, shift: float = 0.0, width: int = 10) -> torch.Tensor:
    return torch.randn(n, 1, width, generator=torch.Generator().manual_seed(seed)) + shift


def test_auc_equals_scikit_learn_in_every_fold() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([1, 0], [40, 55])
    scores = np.round(random.standard_normal((2, 95)) + 0.5 * labels, 1)  # rounded: there are ties
    folds = random.integers(0, 4, (2, 95))
    names = [str(i) for i in range(95)]
    areas = [
        roc_auc_score(labels[fold == k], score[fold == k])
        for score, fold in zip(scores, folds, strict=True)
        for k in range(4)
    ]
    expected = np.mean(areas)
    result = fold_auc(scores, labels, folds, names, draws=200, seed=0)
    assert result.value == pytest.approx(expected, abs=1e-6)
    assert result.low < result.value < result.high


def test_the_same_distribution_cannot_be_told_apart() -> None:
    values, held = [], 0
    for seed in range(12):
        result = DetectorMetric(repeats=1, draws=200, seed=seed)(gaussian(50, seed), gaussian(50, 100 + seed))
        values.append(result.value)
        held += result.low <= 0.5 <= result.high
    assert abs(np.mean(values) - 0.5) < 0.05
    assert held >= 10


def test_different_distributions_are_told_apart() -> None:
    result = DetectorMetric(draws=100)(gaussian(40, 0), gaussian(40, 1, shift=3.0))
    assert result.value == 1.0
    assert DetectorMetric(draws=100)(gaussian(60, 0), gaussian(60, 1, shift=0.3)).value == pytest.approx(0.75, abs=0.1)


@pytest.mark.parametrize("seed", range(6))
def test_folds_are_those_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(40, 400))
    labels = (random.random(count) < random.uniform(0.2, 0.8)).astype(int)
    # patients with images on one side or both, of all sizes; with the last seeds every image by itself
    groups = [f"g{g}" for g in (random.integers(0, 1 + count // 3, count) if seed < 4 else range(count))]
    for n_splits in (3, 5):
        wanted = np.empty(count, dtype=int)
        splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
        for index, (_, test) in enumerate(splitter.split(labels, labels, groups)):
            wanted[test] = index
        assert np.array_equal(grouped_folds(labels, groups, n_splits, seed), wanted)


def test_fewer_groups_than_folds_leave_folds_empty() -> None:
    fold = grouped_folds(np.arange(30) % 2, ["a", "b", "c"] * 10, 5, seed=0)
    assert len(set(fold.tolist())) == 3


def test_images_of_a_group_are_never_split() -> None:
    groups = [f"patient {i // 5}" for i in range(60)]
    fold = grouped_folds(np.arange(60) % 2, groups, 5, seed=0)
    assert all(len(set(fold[i : i + 5])) == 1 for i in range(0, 60, 5))
    assert set(fold) == set(range(5))


def test_copies_in_one_group_do_not_leak() -> None:
    # every image stands five times in the set: split between training and test they would be recognised
    one, other = (gaussian(12, seed, width=40).repeat(5, 1, 1) for seed in (0, 1))
    names = [[f"{side}{i % 12}" for i in range(60)] for side in "ab"]
    assert DetectorMetric(draws=50)(one, other).value > 0.95
    assert DetectorMetric(draws=50)(one, other, *names).value < 0.8


def test_the_same_seed_gives_the_same_result_and_the_limit_holds() -> None:
    metric = DetectorMetric(draws=50, limit=30, seed=3)
    first, second = (metric(gaussian(50, 0), gaussian(40, 1)) for _ in range(2))
    assert first == second
    assert (first.n, first.n_reference) == (30, 30)


def test_too_few_images_are_refused_in_words() -> None:
    with pytest.raises(FreRecError, match="at least 20"):
        DetectorMetric()(gaussian(19, 0), gaussian(50, 1))
