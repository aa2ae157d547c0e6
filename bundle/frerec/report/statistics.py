"""One bootstrap and one AUC for audit and study."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Bootstrap weights are (draws, cases); more than this many numbers at a time would cost too much memory.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval and the number of images on each side."""

    value: float
    low: float
    high: float
    n: int
    n_reference: int

    def asdict(self) -> dict[str, float | int]:
        """The interval as a plain dict."""
        return asdict(self)


def bootstrap_weights(
    groups: Sequence[Hashable] | NDArray[Any],
    draws: int,
    rng: np.random.Generator,
    labels: Sequence[int] | NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """How often each image is drawn in each bootstrap sample.

    Whole groups are drawn, because the images of one patient are alike: drawn singly they would make intervals
    that are too narrow.

    Args:
        groups: (N,) the group (patient) of each image.
        draws: number of samples.
        rng: source of the draws.
        labels: (N,) class numbers; groups are then drawn among those with the same set of labels, so that no sample
            loses a class. None draws among all.

    Returns:
        float32 (draws, N).
    """
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    kinds = np.zeros(len(member), dtype=np.int64) if labels is None else np.asarray(labels)
    of_group: list[set[int]] = [set() for _ in range(int(member.max()) + 1)]
    for group, kind in zip(member.tolist(), kinds.tolist(), strict=True):
        of_group[group].add(kind)
    counts = np.empty((draws, len(of_group)), dtype=np.float32)
    for kind_set in sorted({frozenset(kind) for kind in of_group}, key=sorted):
        stratum = np.array([group for group, kind in enumerate(of_group) if kind == kind_set])
        chances = np.full(len(stratum), 1 / len(stratum))
        # the counts are drawn as 64-bit integers, so only some of them at a time
        for some in np.array_split(np.arange(draws), max(draws // 100, 1)):
            counts[some[:, None], stratum] = rng.multinomial(len(stratum), chances, size=len(some))
    return counts[:, member]


def weighted_auc(scores: NDArray[Any], positive: NDArray[np.bool_], weights: NDArray[Any]) -> Array:
    """Area under the ROC curve for many weightings of the same cases.

    Args:
        scores: (N,) larger for the positive class; ties count one half.
        positive: (N,) true for cases of the positive class.
        weights: (B, N) not negative, how often each case counts.

    Returns:
        (B,) areas; NaN where a weighting leaves a class empty.
    """

    def area(up: Array, down: Array) -> Array:
        below = np.cumsum(down, axis=1) - down / 2
        pairs = up.sum(1) * down.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pairs > 0, (up * below).sum(1) / pairs, np.nan)

    return over_thresholds(scores, positive, weights, area)


def over_thresholds(
    scores: NDArray[Any], positive: NDArray[np.bool_], weights: NDArray[Any], measure: Callable[[Array, Array], Array]
) -> Array:
    """A measure that goes along the distinct scores, for many weightings of the same cases.

    Args:
        scores: (N,).
        positive: (N,).
        weights: (B, N).
        measure: gets the weight of positive and of negative cases at each distinct score in rising order, both float64
            (b, T), and returns (b,).

    Returns:
        (B,).
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
    is_positive = positive[order]
    result = np.empty(len(weights))
    step = max(1, _CHUNK // max(1, len(scores)))
    for begin in range(0, len(weights), step):
        w = weights[begin : begin + step, order].astype(np.float64)
        up = np.add.reduceat(w * is_positive, starts, axis=1)
        down = np.add.reduceat(w * ~is_positive, starts, axis=1)
        result[begin : begin + step] = measure(up, down)
    return result


def mean_difference(
    values: NDArray[Any],
    reference: NDArray[Any],
    groups: Sequence[str],
    groups_reference: Sequence[str],
    draws: int,
    seed: int,
) -> Interval:
    """Difference of two means with a percentile bootstrap interval over groups (patients).

    Args:
        values: (N,); NaN counts as not measured.
        reference: (M,).
        groups: (N,) names.
        groups_reference: (M,) names.
        draws: bootstrap samples.
        seed: seed of the draws.
    """
    rng = np.random.default_rng(seed)
    means, counts = [], []
    for x, names in ((values, groups), (reference, groups_reference)):
        known = np.isfinite(x)
        weights = bootstrap_weights([name for name, k in zip(names, known, strict=True) if k], draws, rng)
        weights = np.concatenate([np.ones_like(weights[:1]), weights]).astype(np.float64)
        means.append(weights @ x[known] / weights.sum(1))
        counts.append(int(known.sum()))
    difference = means[0] - means[1]
    low, high = np.quantile(difference[1:], [0.025, 0.975])
    return Interval(float(difference[0]), float(low), float(high), counts[0], counts[1])
