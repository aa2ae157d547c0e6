"""The rule of one standard error on results made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from frerec.study.statistics import Replicates
from frerec.tune.candidates import AS_THEY_ARE, NOT_ADDED, Candidate
from frerec.tune.decision import decide

SHR = Candidate("shr 1 0.1 0.1", True, "shr", 1.0)
BOTH = Candidate("both 1 0.1 0.1", True, "both", 1.0)


def result(mean: float, spread: float = 0.01, seed: int = 0) -> Replicates:
    """Four seeds that differ by ``spread``, in an order that ``seed`` draws."""
    values = mean + spread * np.random.default_rng(seed).permutation([-1.5, -0.5, 0.5, 1.5])
    return Replicates((0, 1, 2, 3), values, np.tile(values, (200, 1)), 100)


@pytest.mark.parametrize(
    ("means", "chosen", "sure"),
    [
        ({NOT_ADDED: 0.87, AS_THEY_ARE: 0.79, SHR: 0.871}, NOT_ADDED, "open"),
        ({NOT_ADDED: 0.90, AS_THEY_ARE: 0.79, SHR: 0.80}, NOT_ADDED, "shown"),
        ({NOT_ADDED: 0.80, AS_THEY_ARE: 0.90, SHR: 0.902}, AS_THEY_ARE, "shown"),
        ({NOT_ADDED: 0.80, AS_THEY_ARE: 0.79, SHR: 0.90, BOTH: 0.903}, SHR, "shown"),
        ({NOT_ADDED: 0.80, AS_THEY_ARE: 0.79, SHR: 0.85, BOTH: 0.95}, BOTH, "shown"),
        ({NOT_ADDED: 0.80, AS_THEY_ARE: 0.80, SHR.everything: 0.95, BOTH: 0.95}, BOTH, "shown"),
    ],
)
def test_of_equally_good_ways_the_one_of_least_effort(
    means: dict[Candidate, float], chosen: Candidate, sure: str
) -> None:
    found = decide({c: result(mean, seed=i) for i, (c, mean) in enumerate(means.items())})
    assert found.chosen == chosen
    assert found.sure == sure
    assert chosen.name not in found.against
    for name, estimate in found.against.items():
        other = next(c for c in means if c.name == name)
        assert estimate.value == pytest.approx(means[chosen] - means[other])


def test_a_difference_of_little_more_than_one_standard_error_is_likely() -> None:
    # spread 0.01: a standard deviation of 0.0129 over four seeds, so an error of 0.0065
    found = decide({NOT_ADDED: result(0.8, 0.0), AS_THEY_ARE: result(0.812)})
    assert (found.chosen, found.sure) == (AS_THEY_ARE, "likely")


def test_candidates_with_unequal_seeds_meet_on_those_they_share() -> None:
    longer = Replicates((0, 1, 2, 3, 4, 5), np.r_[np.full(4, 0.8), 0.2, 0.2], np.full((200, 6), 0.8), 100)
    found = decide({NOT_ADDED: longer, AS_THEY_ARE: result(0.9)})
    assert found.seeds == 4
    assert found.against["RAW"].value == pytest.approx(0.1)
