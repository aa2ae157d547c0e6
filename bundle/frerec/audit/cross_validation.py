"""Cross-validated AUC of telling one set from another: folds that keep patients together, ranks within a fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from monai.metrics import Metric
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from frerec.errors import FreRecError
from frerec.report.statistics import Interval, bootstrap_weights, weighted_auc

#: With fewer images on a side a fold has too few to rank, and intervals are narrower than the truth.
FEWEST = 20


def grouped_folds(labels: np.ndarray, groups: Sequence[str], n_splits: int, seed: int) -> np.ndarray:
    """Deal images into folds; all images of a group (a patient, or an image and its recalibrated self) together.

    The deal is that of scikit-learn's ``StratifiedGroupKFold`` with ``shuffle`` (the most uneven groups first, each to
    the fold it makes most even, of such the smallest), which takes a third of an audit: here all folds are weighed at
    once, ten times as fast.

    Args:
        labels: (N,) 0 or 1, balanced over the folds as well as the groups allow.
        groups: (N,) names.
        n_splits: number of folds.
        seed: seed of the deal.

    Returns:
        int64 (N,): the fold each image is tested in.
    """
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.bincount(2 * member + labels, minlength=2 * (member.max() + 1)).reshape(-1, 2).astype(np.float64)
    total = counts.sum(0)
    order = np.random.RandomState(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order].std(axis=1), kind="stable")]
    dealt, fold_of_group = np.zeros((n_splits, 2)), np.empty(len(counts), dtype=np.int64)
    own = np.eye(n_splits)[:, :, None]
    for group in order:
        # how unevenly the classes would lie over the folds, were the group put into each of them
        proposed = (dealt + own * counts[group]) / total
        proposed -= np.add.reduce(proposed, axis=1, keepdims=True) / n_splits
        spread = np.sqrt(np.add.reduce(proposed * proposed, axis=1) / n_splits)
        best, lowest, least = 0, np.inf, np.inf
        for fold, (score, size) in enumerate(zip((spread.sum(1) / 2).tolist(), dealt.sum(1).tolist(), strict=True)):
            tied = abs(score - lowest) <= 1e-8 + 1e-5 * lowest
            if score < lowest or (tied and size < least):
                best, lowest, least = fold, score, size
        dealt[best] += counts[group]
        fold_of_group[group] = best
    return fold_of_group[member]


def fold_auc(
    scores: np.ndarray, labels: np.ndarray, folds: np.ndarray, groups: Sequence[str], draws: int, seed: int
) -> Interval:
    """AUC averaged over the folds of repeated cross-validation, with a bootstrap interval over images.

    Scores of different folds come from different models and are not comparable, so ranks are taken within a fold
    only. The bootstrap draws groups (patients), real and synthetic apart, and keeps the scores: it holds the spread
    from the choice of images, not that of training again.

    Args:
        scores: (repeats, N) held-out scores, high for label 1.
        labels: (N,) 0 or 1.
        folds: (repeats, N) fold of each image.
        groups: (N,) names; images that share one are drawn together.
        draws: number of bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        The mean AUC and its percentile interval.
    """
    drawn = bootstrap_weights(groups, draws, np.random.default_rng(seed), labels)
    weights = np.concatenate([np.ones_like(drawn[:1]), drawn])
    areas = [
        weighted_auc(score[fold == index], labels[fold == index] == 1, weights[:, fold == index])
        for score, fold in zip(scores, folds, strict=True)
        for index in np.unique(fold)
        if len(np.unique(labels[fold == index])) == 2
    ]
    # a sample that leaves one side of a fold empty says nothing of that fold
    auc = np.nan_to_num(np.nanmean(areas, axis=0), nan=0.5) if areas else np.full(draws + 1, 0.5)
    low, high = np.quantile(auc[1:], [0.025, 0.975])
    return Interval(float(auc[0]), float(low), float(high), int((labels == 1).sum()), int((labels == 0).sum()))


Fit = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]


class DetectorMetric(Metric):
    """Cross-validated AUC of telling one set from another.

    Args:
        fit: ``fit(train_x, train_labels, test_x, seed)`` returns scores of ``test_x``; by default a logistic
            regression (scikit-learn, standardised features, L2 with C = 1).
        n_splits: number of folds.
        repeats: number of times the deal into folds is repeated.
        draws: number of bootstrap samples.
        limit: at most this many images a side, drawn with the seed; bounds time and memory.
        seed: seed of folds, draws and training.
    """

    def __init__(
        self,
        fit: Fit | None = None,
        n_splits: int = 5,
        repeats: int = 3,
        draws: int = 1000,
        limit: int = 4000,
        seed: int = 0,
    ) -> None:
        self.fit = fit_logistic if fit is None else fit
        self.n_splits = n_splits
        self.repeats = repeats
        self.draws = draws
        self.limit = limit
        self.seed = seed

    def __call__(
        self,
        y_pred: torch.Tensor,
        y: torch.Tensor,
        groups_pred: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> Interval:
        """Measure how well ``y_pred`` is told from ``y``.

        Args:
            y_pred: (N, ...) features or images of one set; a high score means it comes from here.
            y: (M, ...) of the other.
            groups_pred: (N,) names; images that share one are never split between training and test.
            groups: (M,) names.

        Returns:
            The AUC with its interval. Below 0.5 means no better than chance: the detector learnt accidents.

        Raises:
            FreRecError: fewer than :data:`FEWEST` images on a side.
        """
        if min(len(y_pred), len(y)) < FEWEST:
            raise FreRecError(
                f"{len(y_pred)} and {len(y)} images: a detector needs at least {FEWEST} on each side. Add images."
            )
        names_pred = [f"p{i}" for i in range(len(y_pred))] if groups_pred is None else list(groups_pred)
        names = [f"r{i}" for i in range(len(y))] if groups is None else list(groups)
        rng = np.random.default_rng(self.seed)
        keep_pred, keep = (np.sort(rng.permutation(len(side))[: self.limit]) for side in (y_pred, y))
        x = np.concatenate([y_pred[keep_pred].numpy(), y[keep].numpy()])
        labels = np.repeat([1, 0], [len(keep_pred), len(keep)])
        all_names = [names_pred[i] for i in keep_pred] + [names[i] for i in keep]
        folds = np.stack([grouped_folds(labels, all_names, self.n_splits, self.seed + r) for r in range(self.repeats)])
        scores = np.zeros(folds.shape)
        for repeat, fold in enumerate(folds):
            for index in range(self.n_splits):
                test = fold == index
                if test.any() and len(np.unique(labels[~test])) == 2:
                    scores[repeat, test] = self.fit(x[~test], labels[~test], x[test], self.seed + repeat)
        return fold_auc(scores, labels, folds, all_names, self.draws, self.seed)


def fit_logistic(train_x: np.ndarray, train_labels: np.ndarray, test_x: np.ndarray, seed: int) -> np.ndarray:
    """Scores (n,) of a logistic regression on flattened, standardised features."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, random_state=seed))
    model.fit(train_x.reshape(len(train_x), -1), train_labels)
    return model.decision_function(test_x.reshape(len(test_x), -1))
