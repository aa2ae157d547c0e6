"""From runs to tables: known differences are found, and the numbers agree wherever they stand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from frerec.errors import FreRecError, InputError
from frerec.report.tables import write_csv, write_json
from frerec.study.records import Cell, Record, Run, digest, write_record
from frerec.study.results import COLUMNS, pool_studies, rows, summarise
from frerec.study.statistics import holm

SKILL = {"RAW": 1.5, "GDA": 0.6, "GDA+FreRec": 1.7}


def records(fractions: tuple[float, ...] = (1.0,), seeds: int = 4, test_set: str = "a") -> list[Record]:
    rng = np.random.default_rng(ord(test_set))
    labels = np.arange(160) % 2
    case = rng.normal(size=160)
    found = []
    for fraction in fractions:
        for arm, skill in SKILL.items():
            for seed in range(seeds):
                score = 1 / (1 + np.exp(-(labels * skill * fraction**0.2 + case + 0.5 * rng.normal(size=160))))
                run = Run(arm, Cell("small_resnet", fraction, 1.0), seed, digest([arm, fraction, seed]))
                details = {
                    "classes": ["no", "yes"], "n_real": 100, "n_synthetic": 0 if arm == "RAW" else 100,
                    "schedule": {}, "image_size": [32, 32], "channels": 1, "device": "cpu", "versions": {},
                }  # fmt: skip
                found.append(
                    Record(run, labels, np.arange(160), np.stack([1 - score, score], 1), digest(test_set), details)
                )
    return found


def entry(arms: list[dict], name: str) -> dict:
    return next(e for e in arms if e["arm"] == name)


def test_values_are_means_over_seeds_and_known_differences_are_found() -> None:
    runs = records()
    summary = summarise(runs, draws=500)
    arms = summary["cells"][0]["arms"]
    for name in SKILL:
        expected = [roc_auc_score(r.labels, r.probabilities[:, 1]) for r in runs if r.run.arm == name]
        assert entry(arms, name)["auc"]["value"] == pytest.approx(np.mean(expected))
        assert entry(arms, name)["auc"]["per_seed"] == pytest.approx(expected)
    gda = {c["reference"]: c for c in entry(arms, "GDA")["comparisons"] if c["metric"] == "auc"}
    assert list(gda) == ["RAW"], "a reference is compared with those before it, and not the other way round as well"
    assert gda["RAW"]["high"] < 0
    assert gda["RAW"]["p_holm"] < 0.01
    frerec = {c["reference"]: c for c in entry(arms, "GDA+FreRec")["comparisons"] if c["metric"] == "auc"}
    assert frerec["GDA"]["low"] > 0
    difference = entry(arms, "GDA+FreRec")["auc"]["value"] - entry(arms, "RAW")["auc"]["value"]
    assert frerec["RAW"]["value"] == pytest.approx(difference)
    assert entry(arms, "RAW")["comparisons"] == []


def test_holm_covers_every_comparison_of_the_study_by_metric() -> None:
    summary = summarise(records((1.0, 0.25)), draws=200)
    found = [c for cell in summary["cells"] for e in cell["arms"] for c in e["comparisons"] if c["metric"] == "auc"]
    assert len(found) == 6
    assert [c["p_holm"] for c in found] == holm([c["p"] for c in found])


def test_the_average_is_that_of_the_cells_and_surer_than_one() -> None:
    summary = summarise(records((1.0, 0.25)), draws=500)
    averaged = entry(summary["average"], "GDA+FreRec")
    parts = [entry(cell["arms"], "GDA+FreRec")["auc"]["value"] for cell in summary["cells"]]
    assert averaged["auc"]["value"] == pytest.approx(np.mean(parts))
    assert summarise(records(), draws=200)["average"] is None


def test_unfinished_studies_compare_the_seeds_they_share() -> None:
    runs = [r for r in records() if r.run.arm != "GDA" or r.run.seed in (1, 2)]
    arms = summarise(runs, draws=200)["cells"][0]["arms"]
    assert entry(arms, "RAW")["seeds"] == [0, 1, 2, 3]
    assert {c["seeds"] for c in entry(arms, "GDA")["comparisons"]} == {2}
    alone = summarise([r for r in records() if r.run.seed == 0], draws=200)
    assert alone["cells"][0]["arms"][0]["auc"]["low"] > 0.5


def test_results_do_not_depend_on_the_order_of_the_files() -> None:
    runs = records()
    one, two = summarise(runs, draws=200), summarise(sorted(runs, key=lambda r: r.run.key), draws=200)
    for name in SKILL:
        assert entry(one["cells"][0]["arms"], name)["auc"] == entry(two["cells"][0]["arms"], name)["auc"]


def test_different_test_sets_are_not_mixed() -> None:
    with pytest.raises(FreRecError, match="2 different test sets"):
        summarise([*records(test_set="a"), *records(test_set="b")])


def test_the_csv_holds_every_value_and_comparison(tmp_path: Path) -> None:
    summary = summarise(records((1.0, 0.25)), draws=200)
    write_csv(tmp_path / "results.csv", COLUMNS, rows(summary))
    table = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    # (2 cells + the average) x (3 arms + 3 comparisons) x 3 metrics; there is no class that is looked for
    assert len(table) == 54
    row = next(r for r in table if r["arm"] == "GDA" and r["reference"] == "RAW" and r["metric"] == "auc")
    cell = next(
        c
        for c in summary["cells"]
        if str(c["label_fraction"]) == row["label_fraction"] or c["label_fraction"] == float(row["label_fraction"])
    )
    expected = next(c for c in entry(cell["arms"], "GDA")["comparisons"] if c["metric"] == "auc")
    assert float(row["value"]) == pytest.approx(expected["value"], rel=1e-5)
    assert float(row["p_holm"]) == pytest.approx(expected["p_holm"], rel=1e-5)


def test_studies_are_pooled_with_equal_weights(tmp_path: Path) -> None:
    values = []
    for name, seeds in (("a", 4), ("b", 3)):
        summary = summarise(records(seeds=seeds, test_set=name), draws=300)
        values.append(entry(summary["cells"][0]["arms"], "GDA")["auc"]["per_seed"][:3])
        for r in records(seeds=seeds, test_set=name):
            write_record(tmp_path / name / "runs", r)
        write_json(tmp_path / name / "metrics.json", summary)
    pooled = pool_studies([tmp_path / "a", tmp_path / "b"], draws=300)
    assert entry(pooled, "GDA")["auc"]["value"] == pytest.approx(np.mean(values))
    assert entry(pooled, "GDA")["seeds"] == [0, 1, 2]
    assert {c["reference"] for c in entry(pooled, "GDA+FreRec")["comparisons"]} == {"RAW", "GDA"}
    with pytest.raises(InputError, match="no summary"):
        pool_studies([tmp_path / "c"])
