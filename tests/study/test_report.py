"""The page: complete, self-contained, and the same for the same numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from frerec.study.report import forest_plot, sentence, study_page, study_section, verdict


def comparison(value: float, p: float, reference: str = "RAW", metric: str = "auc") -> dict:
    return {
        "reference": reference, "metric": metric, "value": value, "low": value - 0.02, "high": value + 0.02, "p": p,
        "p_holm": p, "seeds": 5,
    }  # fmt: skip


def summary(planned: int = 15) -> dict:
    interval = {"value": 0.84, "low": 0.8, "high": 0.88}
    arms = [
        {
            "arm": name, "seeds": [0, 1, 2, 3, 4], "auc": interval, "accuracy": interval, "real_images": 601,
            "synthetic_images": 601, "comparisons": comparisons,
        }
        for name, comparisons in (
            ("RAW", []),
            ("GDA", [comparison(-0.046, 0.004)]),
            ("GDA+<FreRec>", [comparison(0.01, 0.4), comparison(0.056, 0.0004, "GDA")]),
        )
    ]  # fmt: skip
    return {
        "classes": ["no_finding", "pneumonia"], "test_images": 245, "test_units": 162, "references": ["RAW", "GDA"],
        "draws": 2000, "settings": {"schedule": {"max_steps": 300, "batch_size": 32}, "image_size": [128, 128]},
        "runs": {"finished": 15, "planned": planned, "files": []}, "average": None,
        "cells": [{"classifier": "small_resnet", "label_fraction": 0.25, "synthetic_ratio": 1.0, "arms": arms}],
    }  # fmt: skip


class Balance(HTMLParser):
    """Collects tags that were not closed in order, and outside references."""

    VOID = frozenset({"meta", "br", "img", "path", "use", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.outside += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v and not v.startswith("#")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_well_formed_and_needs_nothing_else() -> None:
    page = study_page(summary())
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert parser.outside == []
    assert "<script" not in page
    assert "@import" not in page
    assert 'name="viewport"' in page


def test_the_page_says_what_was_found() -> None:
    text = study_section(summary())
    assert "GDA+&lt;FreRec&gt;" in text, "names are escaped"
    for expected in ("-0.046", "0.840", "p 0.004", "p &lt; .001", "601 + 601", "25% of the real", "162 patients"):
        assert expected in text, expected
    assert "not complete" not in text
    assert "not complete" in study_section(summary(planned=20))


@pytest.mark.parametrize(("value", "p", "expected"), [(-0.05, 0.01, "harm"), (0.05, 0.01, "help"), (0.05, 0.2, "open")])
def test_verdicts_follow_the_corrected_p_value(value: float, p: float, expected: str) -> None:
    assert verdict(comparison(value, p)) == expected
    words = {"harm": "it harms", "help": "it helps", "open": "no difference shown"}
    assert words[expected] in sentence("GDA", comparison(value, p))
    assert f"{value:+.3f}" in sentence("GDA", comparison(value, p))


def test_the_forest_plot_is_svg_with_a_row_for_each_compared_arm() -> None:
    arms = summary()["cells"][0]["arms"]
    plot = forest_plot(arms, ["RAW", "GDA"])
    root = ElementTree.fromstring(plot)
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"GDA", "GDA+<FreRec>", "AUC minus RAW", "AUC minus GDA"} <= set(words)
    assert "RAW" not in words, "nothing to compare it with"
    for colour in ("#b3261e", "#1a7f37", "#57606a"):
        assert colour in plot
    assert plot == forest_plot(arms, ["RAW", "GDA"]), "no dates or random names"
    assert not re.search(r'href="(?!#)', plot)
    assert forest_plot(arms[:1], ["RAW", "GDA"]) == ""
