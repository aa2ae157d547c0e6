from __future__ import annotations

from typing import Any

import pytest

from frerec.audit.verdict import verdicts


def interval(value: float, half: float = 0.02) -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": min(value + half, 1.0) if value <= 1 else value + half}


def comparison(
    gap: float, high: float, whole: float | None = None, cnn: float = 0.5, half: float = 0.02
) -> dict[str, Any]:
    detector = {"radial_high": high, "radial_high_hann": high, "cnn": cnn}
    detector["radial_whole"] = high if whole is None else whole
    return {
        "gap": {"high": interval(gap), "whole": interval(gap)},
        "detector": {name: interval(value, half) for name, value in detector.items()},
    }


def answers(**parts: Any) -> dict[str, tuple[str, str]]:
    comparisons = {"before": comparison(1.0, 0.99), "floor": comparison(0.03, 0.5), **parts.pop("comparisons", {})}
    result = {"comparisons": comparisons, "fidelity": {}, "copies": {}, **parts}
    return {v.question.split("?")[0]: (v.answer, v.tone) for v in verdicts(result)}


BIAS = "Do your synthetic images carry a frequency bias"
CLOSED = "Does recalibration close the spectral gap"
TELL = "Can a detector still tell synthetic from real after recalibration"


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
        (comparison(0.1, 0.52, whole=0.97), TELL, ("not from the high band", "fair")),
        (comparison(0.1, 0.52, cnn=0.97), TELL, ("not from the high band", "fair")),
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
    ("psnr", "ssim", "expected"),
    [(40, 0.97, ("yes", "good")), (40, 0.93, ("mostly", "fair")), (25, 0.97, ("no", "bad"))],
)
def test_fidelity(psnr: float, ssim: float, expected: tuple[str, str]) -> None:
    measures = {"n": 9, "unchanged": 0, "psnr": {"mean": psnr, "low": psnr}, "ssim": {"mean": ssim, "low": ssim}}
    found = answers(fidelity={"real": measures})
    assert found["Do recalibrated real images stay true to their inputs"] == expected


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
