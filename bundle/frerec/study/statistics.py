"""Honest statistics for a downstream study: seeds and test cases are both samples, arms share both.

The data have the shape of a multi-reader multi-case study: every arm (modality) is trained with every seed (reader)
and scored on every test case. Test cases and seeds are resampled together, the same draw for all arms, so the
differences between arms are paired in both.

Sources: S. V. Beiden, R. F. Wagner, G. Campbell, "Components-of-variance models and multiple-bootstrap experiments",
Acad. Radiol. 7 (2000); A. B. Owen, "The pigeonhole bootstrap", Ann. Appl. Stat. 1 (2007); J. N. K. Rao, C. F. J. Wu,
"Resampling inference with complex survey data", JASA 83 (1988) for drawing one seed fewer than there are;
F. E. Satterthwaite, Biometrics 2 (1946); S. Holm, Scand. J. Stat. 6 (1979).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from frerec.errors import FreRecError

Array = NDArray[np.float64]

# Bootstrap weights are (draws, cases) float64; more than this many numbers at a time would cost too much memory.
_CHUNK = 4_000_000


def weighted_auc(scores: Array, positive: NDArray[np.bool_], weights: Array) -> Array:
    """Area under the ROC curve for many weightings of the same cases.

    Args:
        scores: (N,) larger for the positive class; ties count one half.
        positive: (N,) true for cases of the positive class.
        weights: (B, N) not negative, how often each case counts.

    Returns:
        (B,) areas; NaN where a weighting leaves a class empty.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
    result = np.empty(len(weights))
    step = max(1, _CHUNK // max(1, len(scores)))
    for begin in range(0, len(weights), step):
        w = weights[begin : begin + step, order]
        is_positive = positive[order]
        up = np.add.reduceat(w * is_positive, starts, axis=1)
        down = np.add.reduceat(w * ~is_positive, starts, axis=1)
        below = np.cumsum(down, axis=1) - down / 2
        pairs = up.sum(1) * down.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            result[begin : begin + step] = np.where(pairs > 0, (up * below).sum(1) / pairs, np.nan)
    return result


def macro_auc(probabilities: Array, labels: NDArray[np.int64], weights: Array | None = None) -> Array:
    """AUC of two classes, or the unweighted mean of the one-versus-rest AUCs of more.

    Args:
        probabilities: (N, C), a row per case.
        labels: (N,) class numbers from 0 to C - 1.
        weights: (B, N) as in :func:`weighted_auc`; None for one weighting that counts every case once.

    Returns:
        (B,) areas.
    """
    weights = np.ones((1, len(labels))) if weights is None else weights
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    return np.mean([weighted_auc(probabilities[:, c], labels == c, weights) for c in classes], axis=0)


def accuracy(probabilities: Array, labels: NDArray[np.int64], weights: Array | None = None) -> Array:
    """Share of cases whose most probable class is the true one; arguments and result as in :func:`macro_auc`."""
    weights = np.ones((1, len(labels))) if weights is None else weights
    return weights @ (probabilities.argmax(1) == labels) / weights.sum(1)


METRICS: dict[str, Callable[..., Array]] = {"auc": macro_auc, "accuracy": accuracy}


def resample_cases(
    labels: NDArray[np.int64], clusters: Sequence[int] | NDArray[np.int64], draws: int, rng: np.random.Generator
) -> Array:
    """Bootstrap weights over test cases: whole patients are drawn, within groups of equal labels.

    Args:
        labels: (N,) class numbers.
        clusters: (N,) equal numbers mark images of one patient; all different where patients are not known.
        draws: number of resamples.
        rng: source of chance.

    Returns:
        (draws, N) how often each case was drawn. Patients are drawn within the group of patients that have the same
        set of labels, so no resample loses a class.
    """
    _, member = np.unique(np.asarray(clusters), return_inverse=True)
    n_clusters = int(member.max()) + 1
    label_sets = [frozenset(labels[member == k].tolist()) for k in range(n_clusters)]
    counts = np.zeros((draws, n_clusters))
    for label_set in sorted(set(label_sets), key=sorted):
        stratum = np.array([k for k in range(n_clusters) if label_sets[k] == label_set])
        counts[:, stratum] = rng.multinomial(len(stratum), np.full(len(stratum), 1 / len(stratum)), size=draws)
    return counts[:, member]


def resample_seeds(n_seeds: int, draws: int, rng: np.random.Generator) -> Array:
    """Bootstrap weights over seeds, (draws, n_seeds), each row summing to 1.

    One seed fewer than there are is drawn: with the usual full draw, the variance of a mean over five seeds would
    come out one fifth too small.
    """
    if n_seeds == 1:
        return np.ones((draws, 1))
    drawn = rng.multinomial(n_seeds - 1, np.full(n_seeds, 1 / n_seeds), size=draws)
    return drawn / (n_seeds - 1)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval, and a two-sided p value against 0."""

    value: float
    low: float
    high: float
    standard_error: float
    degrees_of_freedom: float
    p: float


@dataclass(frozen=True)
class Replicates:
    """One quantity of the study: its value for each seed, on the test set as it is and on resampled ones.

    Differences and means of such quantities are made by subtracting and averaging them, seed by seed and resample by
    resample. So whatever correlation there is between arms, or between settings tested on the same cases, counts.

    Args:
        seeds: the S seeds.
        per_seed: (S,) values with every test case counted once.
        draws: (B, S) values on resampled cases.
        n_units: number of independent test units (patients, or images).
    """

    seeds: tuple[int, ...]
    per_seed: Array
    draws: Array
    n_units: int

    def of(self, seeds: Iterable[int]) -> Replicates:
        """The same quantity for some of its seeds, in the order given."""
        chosen = tuple(seeds)
        index = [self.seeds.index(seed) for seed in chosen]
        return Replicates(chosen, self.per_seed[index], self.draws[:, index], self.n_units)

    def __sub__(self, other: Replicates) -> Replicates:
        a, b = paired([self, other])
        return Replicates(a.seeds, a.per_seed - b.per_seed, a.draws - b.draws, a.n_units)

    def estimate(self, bounds: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
        """Interval and p value from the bootstrap standard error and a t distribution.

        The percentiles of a bootstrap over a handful of seeds are too narrow. So the standard error is the
        bootstrap's, and its degrees of freedom are Satterthwaite's over the two sources of chance: seeds (S - 1) and
        test units (n_units - 1).

        Args:
            bounds: the interval is cut off at these.
        """
        value, n_seeds = float(self.per_seed.mean()), len(self.seeds)
        # The same chance for every quantity, so that equal data give equal intervals.
        weights = resample_seeds(n_seeds, len(self.draws), np.random.default_rng(n_seeds))
        variance = float((self.draws * weights).sum(1).var(ddof=1))
        of_seeds = float(self.per_seed.var(ddof=1)) / n_seeds if n_seeds > 1 else 0.0
        # With few draws the bootstrap may fall short of what the seeds alone show.
        variance = max(variance, of_seeds)
        error = float(np.sqrt(variance))
        if error == 0:
            return Estimate(value, value, value, 0.0, float("inf"), 1.0 if value == 0 else 0.0)
        of_cases = variance - of_seeds
        spread = of_cases**2 / max(1, self.n_units - 1) + (of_seeds**2 / (n_seeds - 1) if n_seeds > 1 else 0.0)
        freedom = variance**2 / spread
        half = float(stats.t.ppf(0.975, freedom)) * error
        p = float(2 * stats.t.sf(abs(value) / error, freedom))
        return Estimate(value, max(bounds[0], value - half), min(bounds[1], value + half), error, freedom, p)


def paired(parts: Sequence[Replicates]) -> list[Replicates]:
    """The same quantities for the seeds that they have in common.

    Raises:
        FreRecError: there are none.
    """
    common = sorted(set.intersection(*(set(part.seeds) for part in parts)))
    if not common:
        raise FreRecError("quantities without a common seed cannot be compared. Run the same seeds in all.")
    return [part.of(common) for part in parts]


def average(parts: Sequence[Replicates]) -> Replicates:
    """Mean of several quantities over the seeds that they have in common."""
    parts = paired(parts)
    return Replicates(
        parts[0].seeds,
        np.mean([part.per_seed for part in parts], axis=0),
        np.mean([part.draws for part in parts], axis=0),
        min(part.n_units for part in parts),
    )


def replicate(
    probabilities: Mapping[int, Array],
    labels: NDArray[np.int64],
    case_weights: Array,
    n_units: int,
    metric: str = "auc",
) -> Replicates:
    """Bootstrap one arm.

    Args:
        probabilities: (N, C) predictions by seed.
        labels: (N,) class numbers.
        case_weights: (B, N) from :func:`resample_cases`, the same for all arms to be compared.
        n_units: number of independent test units.
        metric: a key of :data:`METRICS`.
    """
    measure, seeds = METRICS[metric], tuple(sorted(probabilities))
    per_seed = np.array([measure(probabilities[seed], labels)[0] for seed in seeds])
    draws = np.stack([measure(probabilities[seed], labels, case_weights) for seed in seeds], axis=1)
    return Replicates(seeds, per_seed, draws, n_units)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction; adjusted p values in the order given."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    return [float(value) for value in adjusted]
