from __future__ import annotations

from typing import Any

import pytest

from frerec.audit.verdict import verdicts


def interval(value: float, half: float = 0.02) -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": min(value + half, 1.0) if value <= 1 else value + half}


def comparison(gap: float, radial: float, cnn: float | None = None, half: float = 0.02) -> dict[str, Any]:
    values = dict.fromkeys(("radial_high", "radial", "radial_hann", "cnn_high_pass"), radial)
    values["cnn_pixels"] = radial if cnn is None else cnn
    return {
        "gap": {"high": interval(gap), "whole": interval(gap)},
        "detector": {name: interval(value, half) for name, value in values.items()},
    }


def answers(**parts: Any) -> dict[str, tuple[str, str]]:
    comparisons = {"before": comparison(1.0, 0.99), "floor": comparison(0.03, 0.5), **parts.pop("comparisons", {})}
    result = {"comparisons": comparisons, "fidelity": {}, "copies": {}, **parts}
    return {v.question.split("?")[0].split(" (")[0]: (v.answer, v.tone) for v in verdicts(result)}


BIAS = "Do your synthetic images carry a frequency bias"
CLOSED = "Does recalibration close the spectral gap"
TELL = "Can a detector still tell synthetic from real"


def test_a_success_is_called_one() -> None:
    found = answers(comparisons={"after": comparison(0.1, 0.52)})
    assert found[BIAS] == ("yes", "bad")
    assert found[CLOSED] == ("yes", "good")
    assert found[TELL] == ("no", "good")


@pytest.mark.parametrize(
    ("after", "question", "expected"),
    [
        (comparison(0.5, 0.9), CLOSED, ("partly", "fair")),
        (comparison(1.2, 0.9), CLOSED, ("no", "bad")),
        (comparison(0.99, 0.9), CLOSED, ("uncertain", "fair")),
        (comparison(0.1, 0.95), TELL, ("yes", "bad")),
        (comparison(0.1, 0.55, half=0.1), TELL, ("uncertain", "fair")),
        # the strongest detector decides, not the kindest
        (comparison(0.1, 0.52, cnn=0.97), TELL, ("yes", "bad")),
        (comparison(0.1, 0.52, cnn=0.7), TELL, ("partly", "fair")),
    ],
)
def test_anything_less_is_not(after: dict[str, Any], question: str, expected: tuple[str, str]) -> None:
    assert answers(comparisons={"after": after})[question] == expected


def test_without_recalibrated_real_images_the_untouched_ones_are_named() -> None:
    comparisons = {"before": comparison(1.0, 0.99), "after_against_untouched_real": comparison(0.2, 0.7)}
    found = verdicts({"comparisons": comparisons, "fidelity": {}, "copies": {}})
    assert "against untouched real images" in next(v.sentence for v in found if v.question.startswith(CLOSED))


def test_no_bias_where_there_is_none() -> None:
    assert answers(comparisons={"before": comparison(0.05, 0.5)})[BIAS] == ("no", "good")


@pytest.mark.parametrize(
    ("psnr", "ssim", "expected", "of_synthetic"),
    [
        (40, 0.97, ("yes", "good"), ("little", "good")),
        (40, 0.93, ("mostly", "fair"), ("somewhat", "good")),
        (25, 0.97, ("no", "bad"), ("much", "fair")),
    ],
)
def test_fidelity(psnr: float, ssim: float, expected: tuple[str, str], of_synthetic: tuple[str, str]) -> None:
    measures = {"n": 9, "unchanged": 0, "psnr": {"mean": psnr, "low": psnr}, "ssim": {"mean": ssim, "low": ssim}}
    found = answers(fidelity={"real": measures, "synthetic": measures})
    assert found["Do recalibrated real images stay true to their inputs"] == expected
    assert found["How much are recalibrated synthetic images changed"] == of_synthetic


def test_an_unsound_audit_says_so() -> None:
    floor = comparison(0.1, 0.7, half=0.05)
    assert answers(comparisons={"floor": floor})["Is this audit itself sound"] == ("with care", "fair")
    assert answers()["Is this audit itself sound"] == ("yes", "good")


def test_an_image_identical_to_one_of_the_bank_is_told() -> None:
    bank = {"n": 100, "synthetic": ["a.png"], "recalibrated": []}
    question = "Are outputs copies of real images that were learnt from"
    assert answers(copies={"bank": bank})[question] == ("look at them", "bad")
    # a bank without pixels cannot see near copies, so this is no all-clear
    assert answers(copies={"bank": {**bank, "synthetic": []}})[question] == ("none identical", "fair")


def test_what_was_compared_is_said_and_both_are_judged() -> None:
    comparisons = {
        "before": comparison(1.0, 0.99), "after": comparison(0.1, 0.52),
        "after_against_untouched_real": comparison(0.1, 0.52, cnn=0.99),
    }  # fmt: skip
    found = verdicts({"comparisons": comparisons, "fidelity": {}, "copies": {}})
    told = {v.question: v for v in found if v.question.startswith(TELL)}
    assert [("all images" in q, v.answer) for q, v in told.items()] == [(True, "no"), (False, "yes")]
    assert "The strongest detector is: CNN, pixels" in next(v.sentence for v in told.values() if v.answer == "yes")


def test_detectors_that_were_not_run_leave_no_all_clear() -> None:
    after = comparison(0.1, 0.5)
    del after["detector"]["cnn_pixels"]
    assert answers(comparisons={"after": after})[TELL] == ("not by what was run", "fair")


def point(peak: float, z: float) -> dict[str, Any]:
    return {"peak": peak, "peak_z": z, "peak_period": 4.0, "angular": 0.1}


@pytest.mark.parametrize(
    ("before", "after", "chance", "expected"),
    [
        ((0.1, 3), (0.1, 3), (0.1, 3), ("no sign", "good")),
        ((0.9, 30), (0.1, 3), (0.1, 3), ("yes, repaired", "good")),
        ((0.1, 3), (0.9, 30), (0.1, 3), ("recalibration makes one", "bad")),
        ((0.9, 30), (0.8, 20), (0.1, 3), ("yes, and some stays", "bad")),
        # scanner lines that real images have among themselves are no artefact of the generator
        ((0.5, 9), (0.5, 9), (0.6, 12), ("no sign", "good")),
    ],
)
def test_lattices_are_held_against_chance(before: Any, after: Any, chance: Any, expected: Any) -> None:
    comparisons = {"before": comparison(1.0, 0.99), "after": comparison(0.1, 0.5), "floor": comparison(0.0, 0.5)}
    for name, found in (("before", before), ("after", after), ("floor", chance)):
        comparisons[name]["map"] = point(*found)
    found = answers(comparisons=comparisons)
    assert found["Is there a checkerboard or grid in the synthetic images"] == expected


@pytest.mark.parametrize(
    ("edges", "borders", "chance", "expected"),
    [
        (0.1, 0.1, 0.0, ("no sign", "good")),
        (0.4, 0.1, 0.0, ("yes, edges", "bad")),
        (0.4, 0.5, 0.0, ("yes, edges and borders", "bad")),
        (0.4, 0.5, 0.6, ("no sign", "good")),
    ],
)
def test_ringing_is_held_against_chance(edges: float, borders: float, chance: float, expected: Any) -> None:
    comparisons = {"after": comparison(0.1, 0.5), "floor": comparison(0.0, 0.5)}
    comparisons["after"]["ringing"] = {"edges": interval(edges, 0.05), "borders": interval(borders, 0.05)}
    comparisons["floor"]["ringing"] = {"edges": interval(chance, 0.05), "borders": interval(chance, 0.05)}
    assert answers(comparisons=comparisons)["Do edges or borders ring"] == expected
