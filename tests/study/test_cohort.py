"""Who is in the study: checks of the datalists, fractions by patient, synthetic subsets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from frerec.errors import ConfigError, InputError
from frerec.study.cohort import Case, labelled_subset, read_cohort, replaced_folder, synthetic_subset


def rows(split: str, n: int = 4) -> list[dict[str, str]]:
    return [
        {"image": f"{split}{label}{i}", "label": label, "split": split, "patient": f"{split}{label}{i}"}
        for label in ("ill", "well")
        for i in range(n)
    ]


def everyone() -> list[dict[str, str]]:
    return [*rows("train"), *rows("val"), *rows("test")]


def training_cases() -> list[Case]:
    # 3 images a patient, and every tenth patient has images of both classes.
    return [
        Case(f"i{p}_{i}", (p + (i == 2 and p % 10 == 0)) % 2, f"p{p}", "train") for p in range(120) for i in range(3)
    ]


def test_classes_are_sorted_and_numbered() -> None:
    cohort = read_cohort(everyone(), [{"image": "s", "label": "well"}])
    assert cohort.classes == ("ill", "well")
    assert [case.label for case in cohort.train] == [0] * 4 + [1] * 4
    assert cohort.synthetic == (Case("s", 1, "s", "synthetic"),)


def test_images_without_a_patient_stand_for_themselves() -> None:
    plain = [{key: value for key, value in row.items() if key != "patient"} for row in everyone()]
    assert [case.patient for case in read_cohort(plain).test] == [row["image"] for row in rows("test")]


def test_a_patient_in_two_splits_is_refused() -> None:
    leaking = everyone()
    leaking[0]["patient"] = leaking[-1]["patient"]
    with pytest.raises(ConfigError, match="more than one split"):
        read_cohort(leaking)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"label": None}, "label of"), ({"label": "odd"}, "label of"), ({"label": ""}, "label of")],
)
def test_a_wrong_label_is_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_cohort([{**everyone()[0], **change}, *everyone()[1:]], classes=["ill", "well"])


def test_a_split_without_a_class_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'val'.*'ill'"):
        read_cohort([row for row in everyone() if (row["split"], row["label"]) != ("val", "ill")])
    with pytest.raises(ConfigError, match="two classes"):
        read_cohort([row for row in everyone() if row["label"] == "ill"])


@pytest.mark.parametrize("fraction", [0.5, 0.25, 0.1])
def test_fractions_are_stratified_and_keep_patients_whole(fraction: float) -> None:
    cases = training_cases()
    kept = labelled_subset(cases, fraction, seed=3)
    patients = {case.patient for case in kept}
    assert kept == [case for case in cases if case.patient in patients]
    wanted = Counter(case.label for case in cases)
    for label, n in Counter(case.label for case in kept).items():
        assert fraction * wanted[label] - 3 <= n <= fraction * wanted[label] + 1


def test_fractions_are_seeded() -> None:
    cases = training_cases()
    assert labelled_subset(cases, 0.25, 1) == labelled_subset(cases, 0.25, 1)
    assert labelled_subset(cases, 0.25, 1) != labelled_subset(cases, 0.25, 2)
    assert labelled_subset(cases, 1, 1) == cases
    for fraction in (0, 1.5):
        with pytest.raises(ConfigError, match="label_fractions"):
            labelled_subset(cases, fraction, 1)


def test_a_tiny_fraction_keeps_every_class() -> None:
    assert {case.label for case in labelled_subset(training_cases(), 0.001, 0)} == {0, 1}


def test_synthetic_subset_is_seeded_and_grows() -> None:
    pool = [Case(f"s{i}", i % 2, f"s{i}", "synthetic") for i in range(200)]
    chosen = synthetic_subset(pool, {0: 60, 1: 20}, seed=0)
    assert Counter(case.label for case in chosen) == {0: 60, 1: 20}
    again = synthetic_subset(list(reversed(pool)), {0: 60, 1: 20}, seed=0)
    assert chosen == again[::-1], "the order of the list plays no part"
    assert chosen != synthetic_subset(pool, {0: 60, 1: 20}, seed=1)
    # Of the same seed, the smaller set is part of the larger one.
    assert set(synthetic_subset(pool, {0: 15, 1: 5}, seed=0)) < set(chosen)
    with pytest.raises(ConfigError, match=r"^ratio=4: asks for 120 synthetic images of class 0, .* 100.*up to 3\.33"):
        synthetic_subset(pool, {0: 120, 1: 40}, 0, ("ratio", 4))


def test_recalibrated_copies_are_found_by_relative_name(tmp_path: Path) -> None:
    for name in ("made/a/1.png", "made/b/1.png", "recal/a/1.tif", "recal/b/1.png", "recal/a/1.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    cases = [Case(str(tmp_path / f"made/{k}/1.png"), i, "p", "synthetic") for i, k in enumerate("ab")]
    found = replaced_folder(cases, str(tmp_path / "made"), str(tmp_path / "recal"))
    assert [Path(case.image).relative_to(tmp_path).as_posix() for case in found] == ["recal/a/1.tif", "recal/b/1.png"]
    assert [case.label for case in found] == [0, 1]
    (tmp_path / "recal/b/1.png").unlink()
    with pytest.raises(InputError, match=r"b/1\.png.*0 other images"):
        replaced_folder(cases, str(tmp_path / "made"), str(tmp_path / "recal"))
    with pytest.raises(ConfigError, match="does not lie below"):
        replaced_folder(cases, str(tmp_path / "recal"), str(tmp_path / "made"))
