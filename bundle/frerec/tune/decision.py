"""From finished runs to a recommendation: the simplest candidate that is not worse than the best beyond chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from frerec.study.statistics import Estimate, Replicates, paired
from frerec.tune.candidates import Candidate

#: How sure the answer is, from a difference: its interval leaves out 0, it is above one standard error, or neither.
GRADES = ("shown", "likely", "open")


@dataclass(frozen=True)
class Decision:
    """What to do, and against what.

    Args:
        chosen: the recommendation.
        best: the candidate with the highest mean.
        seeds: how many seeds the candidates have in common.
        against: difference of the recommendation to the alternatives that matter, by name.
        sure: one of :data:`GRADES`: that of the least certain difference to an alternative of less effort, since of
            equally good ways that one would have been chosen; where there is none, to the best alternative.
    """

    chosen: Candidate
    best: Candidate
    seeds: int
    against: dict[str, Estimate]
    sure: str


def grade(difference: Estimate) -> str:
    """How sure it is that a difference is above 0, one of :data:`GRADES`."""
    if difference.low > 0:
        return "shown"
    return "likely" if difference.value > difference.standard_error else "open"


def decide(found: Mapping[Candidate, Replicates]) -> Decision:
    """Choose.

    The rule is that of one standard error (Breiman et al., "Classification and regression trees", 1984): of all
    candidates whose mean is less than one standard error of the difference below the best, the one of least effort.
    Seeds and cases are resampled together and paired, see :mod:`frerec.study.statistics`.

    Args:
        found: AUC of every candidate that was not dropped, the two that are always tried among them.
    """
    together = dict(zip(found, paired(list(found.values())), strict=True))
    mean = {candidate: float(values.per_seed.mean()) for candidate, values in together.items()}
    best = min(mean, key=lambda candidate: (-mean[candidate], candidate.effort))

    def near(candidate: Candidate) -> bool:
        behind = (together[best] - together[candidate]).estimate()
        return behind.value <= behind.standard_error

    chosen = min(filter(near, mean), key=lambda candidate: (candidate.effort, -mean[candidate]))
    kinds = (
        [c for c in mean if not c.adds],
        [c for c in mean if c.adds and not c.stage],
        [c for c in mean if c.stage],
    )
    # the alternatives of another kind, each by its best
    others = [max(kind, key=lambda c: mean[c]) for kind in kinds if kind and chosen not in kind]
    against = {other.name: (together[chosen] - together[other]).estimate() for other in others}
    easier = [other for other in others if other.effort < chosen.effort]
    decisive = easier or [max(others, key=lambda c: mean[c])]
    sure = max((grade(against[other.name]) for other in decisive), key=GRADES.index)
    return Decision(chosen, best, len(next(iter(together.values())).seeds), against, sure)
