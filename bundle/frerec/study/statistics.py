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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from frerec.errors import FreRecError
from frerec.study.measures import METRICS, Predictions

Array = NDArray[np.float64]


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
    predictions: Mapping[int, Predictions],
    case_weights: NDArray[np.floating],
    n_units: int,
    metric: str = "auc",
) -> Replicates:
    """Bootstrap one arm.

    Args:
        predictions: by seed.
        case_weights: (B, N) from :func:`frerec.report.statistics.bootstrap_weights`, the same for all arms to be
            compared.
        n_units: number of independent test units.
        metric: a key of :data:`frerec.study.measures.METRICS`.
    """
    measure, seeds = METRICS[metric], tuple(sorted(predictions))
    once = np.ones((1, case_weights.shape[1]))
    per_seed = np.array([measure(predictions[seed], once)[0] for seed in seeds])
    draws = np.stack([measure(predictions[seed], case_weights) for seed in seeds], axis=1)
    return Replicates(seeds, per_seed, draws, n_units)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction; adjusted p values in the order given."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    return [float(value) for value in adjusted]
