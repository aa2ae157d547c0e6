"""The rare-class regime: who is in a run, the same in all arms, another with each seed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from frerec.errors import ConfigError
from frerec.study.arms import Arm
from frerec.study.cohort import Case, Cohort
from frerec.study.records import Cell
from frerec.study.regime import RareClass


def cases(part: str, counts: tuple[int, ...], per_patient: int = 2) -> tuple[Case, ...]:
    return tuple(
        Case(f"{part}/{label}/{i}", label, f"{part} {label} {i // per_patient}", part)
        for label, count in enumerate(counts)
        for i in range(count)
    )


COHORT = Cohort(
    ("glioma", "meningioma", "none"),
    cases("train", (80, 100, 60)),
    cases("val", (20, 20, 20)),
    cases("test", (10, 10, 10)),
    cases("synthetic", (200, 200, 200), 1),
)
RAW, GDA, FULL = Arm("RAW", False), Arm("GDA"), Arm("FULL", False, uses_all_real=True)
EVERY = Arm("GDA all classes", fill_classes="all")


def drawn(rare: RareClass, arm: Arm, fraction: float = 0.1, seed: int = 0) -> tuple[list[Case], list[Case]]:
    return rare.training_cases(COHORT, COHORT.synthetic, arm, Cell("x", 1.0, 0.0, rare.name or "", fraction), seed)


def counts(found: list[Case]) -> dict[int, int]:
    return dict(sorted(Counter(case.label for case in found).items()))


def test_the_rare_class_is_cut_by_patients_and_filled_up() -> None:
    rare = RareClass("glioma")
    real, made = drawn(rare, GDA)
    assert counts(real) == {0: 8, 1: 100, 2: 60}
    assert len({case.patient for case in real if case.label == 0}) == 4, "patients stay whole"
    assert counts(made) == {0: 92}, "up to the largest other class"
    assert counts(drawn(rare, EVERY)[1]) == {0: 92, 1: 92, 2: 92}
    assert counts(drawn(RareClass("glioma", fill=3.0), GDA)[1]) == {0: 24}
    assert counts(drawn(RareClass("glioma", fill_classes="all"), GDA)[1]) == {0: 92, 1: 92, 2: 92}
    assert drawn(rare, RAW)[1] == []
    assert counts(drawn(rare, FULL)[0]) == {0: 80, 1: 100, 2: 60}


def test_arms_share_the_subset_and_seeds_do_not() -> None:
    rare = RareClass("meningioma")
    subsets = [drawn(rare, arm, seed=3)[0] for arm in (RAW, GDA, EVERY, Arm("RAW balanced", False, balanced=True))]
    assert all(subset == subsets[0] for subset in subsets)
    few = [{c.image for c in drawn(rare, GDA, seed=seed)[0] if c.label == 1} for seed in range(5)]
    assert len(set(map(frozenset, few))) == 5
    extra = [frozenset(c.image for c in drawn(rare, GDA, seed=seed)[1]) for seed in range(3)]
    assert len(set(extra)) == 3


def test_validation_is_as_rare_as_training_where_that_is_wanted() -> None:
    cell = Cell("x", 1.0, 0.0, "glioma", 0.2)
    assert RareClass("glioma").validation_cases(COHORT, cell, 0) == list(COHORT.val)
    found = RareClass("glioma", validation=True).validation_cases(COHORT, cell, 0)
    assert counts(found) == {0: 4, 1: 20, 2: 20}


def test_what_does_not_matter_to_an_arm_does_not_change_its_runs() -> None:
    def key(arm: Arm, fraction: float = 0.1, **settings: Any) -> list[object]:
        return RareClass("glioma", **settings).key(arm, Cell("x", 1.0, 0.0, "glioma", fraction))

    assert key(RAW) == key(RAW, fill=2.0) == key(RAW, fill_classes="all")
    assert key(GDA) != key(GDA, fill=2.0)
    assert key(EVERY) == key(EVERY, fill_classes="all") == key(GDA, fill_classes="all")
    assert key(FULL) == key(FULL, fraction=0.05)
    assert len({str(key(GDA, fraction)) for fraction in (0.05, 0.1)}) == 2
    assert key(RAW) != key(RAW, validation=True)


def test_one_cell_for_each_share() -> None:
    cells = RareClass("glioma", (0.05, 0.2)).cells("x", [(1.0, 1.0), (0.5, 1.0)])
    assert [(c.label_fraction, c.rare_fraction) for c in cells] == [(1.0, 0.05), (1.0, 0.2), (0.5, 0.05), (0.5, 0.2)]
    assert "20% of glioma" in str(cells[1])
    assert RareClass().cells("x", [(1.0, 2.0)]) == [Cell("x", 1.0, 2.0)]


@pytest.mark.parametrize(
    ("settings", "config_id"),
    [
        ({"fill": "full"}, "fill"), ({"fill": 0}, "fill"), ({"fill": True}, "fill"),
        ({"fill_classes": "none"}, "fill_classes"), ({"fractions": (0.0,)}, "rare_fraction"),
        ({"name": "stroke"}, "rare_class"), ({"fill": 100.0}, "fill"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(settings: dict[str, Any], config_id: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{config_id}="):
        drawn(RareClass(**{"name": "glioma", **settings}), GDA)


def test_without_a_rare_class_synthetic_images_follow_the_real_ones() -> None:
    def subset(ratio: float) -> dict[int, int]:
        made = RareClass().training_cases(COHORT, COHORT.synthetic, GDA, Cell("x", 1.0, ratio), 0)[1]
        return counts(made)

    assert subset(2.0) == {0: 160, 1: 200, 2: 120}
    with pytest.raises(ConfigError, match=r"synthetic_ratio=3\.0: asks for 240 .* up to 2\.5"):
        subset(3.0)
    with pytest.raises(ConfigError, match="not positive"):
        subset(0)
