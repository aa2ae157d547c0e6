"""From finished runs to numbers: each arm's AUC and accuracy, its differences to the reference arms, and averages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from frerec.errors import FreRecError, InputError
from frerec.report.statistics import bootstrap_weights
from frerec.study.measures import METRICS, OF_ONE_CLASS
from frerec.study.records import Cell, Record, by_cell, read_record
from frerec.study.statistics import Estimate, Replicates, average, holm, replicate

# metric -> arm -> its bootstrap
Measured = dict[str, dict[str, Replicates]]

COLUMNS = (
    "classifier", "label_fraction", "synthetic_ratio", "rare_class", "rare_fraction", "arm", "metric", "reference",
    "value", "low", "high", "p", "p_holm", "seeds", "test_images", "test_units", "real_images", "synthetic_images",
)  # fmt: skip


def summarise(
    records: Sequence[Record], references: Sequence[str] = ("RAW", "GDA"), draws: int = 2000
) -> dict[str, Any]:
    """Compare the arms of one study.

    Args:
        records: finished runs on one test set.
        references: arms that every other arm is compared with, where they are among the runs.
        draws: bootstrap resamples.

    Returns:
        Plain data for metrics.json: ``cells``, each with its ``arms`` and their ``comparisons``, and ``average`` over
        the cells if there are several. Holm's correction of the p values covers all comparisons of a metric in the
        study (``cells``), and separately all those of ``average``.

    Raises:
        FreRecError: the runs have different test sets.
    """
    sets = {record.test_set for record in records}
    if len(sets) != 1:
        raise FreRecError(f"{len(sets)} different test sets cannot be compared case by case. Summarise one at a time.")
    weights = case_weights(records[0], draws)
    cells, measured = [], []
    for cell, arms in sorted(by_cell(records).items()):
        replicates = _measure(arms, weights)
        measured.append(replicates)
        described = _describe(replicates, references)
        for entry in described:
            details = next(iter(arms[entry["arm"]].values())).details
            entry["real_images"], entry["synthetic_images"] = details["n_real"], details["n_synthetic"]
            probes = [record.details["probe"] for record in arms[entry["arm"]].values() if "probe" in record.details]
            if probes:
                entry["probe"] = {name: float(np.mean([probe[name] for probe in probes])) for name in probes[0]}
        cells.append({**_plain(cell), "arms": described})
    _correct([entry for cell in cells for entry in cell["arms"]])
    first = records[0]
    return {
        "classes": first.details["classes"],
        "test_images": len(first.labels),
        "test_units": len(set(first.units.tolist())),
        "references": list(references),
        "draws": draws,
        "settings": {key: first.details[key] for key in ("schedule", "image_size", "channels", "device", "versions")},
        "runs": {"finished": len(records), "files": sorted(record.run.file_name for record in records)},
        "cells": cells,
        "average": _averaged(measured, references) if len(measured) > 1 else None,
    }


def pool_studies(
    folders: Iterable[str | PathLike[str]], references: Sequence[str] = ("RAW", "GDA"), draws: int = 2000
) -> list[dict[str, Any]]:
    """Average the arms over several studies, for example three data sets and two generators.

    Every cell of every study has the same weight. Studies on the same test set are resampled together, those on
    different ones independently.

    Args:
        folders: ``output_dir`` of each study, summarised.
        references: arms to compare with.
        draws: bootstrap resamples.

    Returns:
        The arms that all cells have, as in ``average`` of :func:`summarise`.

    Raises:
        InputError: a folder has no metrics.json.
        FreRecError: no arm is in all of them.
    """
    measured = []
    for folder in map(Path, folders):
        listed = folder / "metrics.json"
        if not listed.is_file():
            raise InputError(listed, "no summary of a study here", "Give the output_dir of a study that has run")
        names = json.loads(listed.read_text(encoding="utf-8"))["runs"]["files"]
        records = [read_record(folder / "runs" / name) for name in names]
        weights = case_weights(records[0], draws)
        measured += [_measure(arms, weights) for _, arms in sorted(by_cell(records).items())]
    return _averaged(measured, references)


def case_weights(record: Record, draws: int) -> np.ndarray[Any, Any]:
    """Bootstrap weights (draws, N) of the cases of a run; whoever resamples the same test set draws the same cases."""
    rng = np.random.default_rng(int(record.test_set[:16], 16))
    return bootstrap_weights(record.units, draws, rng, record.labels)


def _measure(arms: Mapping[str, Mapping[int, Record]], weights: np.ndarray[Any, Any]) -> Measured:
    first = next(iter(next(iter(arms.values())).values()))
    known = [metric for metric in METRICS if metric not in OF_ONE_CLASS or first.details.get("thresholds")]
    measured: Measured = {metric: {} for metric in known}
    n_units = len(set(first.units.tolist()))
    for arm, seeds in arms.items():
        predictions = {seed: record.predictions for seed, record in seeds.items()}
        for metric in known:
            measured[metric][arm] = replicate(predictions, weights, n_units, metric)
    return measured


def _averaged(measured: Sequence[Measured], references: Sequence[str]) -> list[dict[str, Any]]:
    shared = [arm for arm in measured[0]["auc"] if all(arm in cell["auc"] for cell in measured)]
    if not shared:
        raise FreRecError("no arm is in all cells of the studies. Run at least one arm everywhere.")
    together = {
        metric: {arm: average([cell[metric][arm] for cell in measured]) for arm in shared}
        for metric in METRICS
        if all(metric in cell for cell in measured)
    }
    described = _describe(together, references)
    _correct(described)
    return described


def _describe(measured: Measured, references: Sequence[str]) -> list[dict[str, Any]]:
    described = []
    for arm, auc in measured["auc"].items():
        entry: dict[str, Any] = {"arm": arm, "seeds": list(auc.seeds), "comparisons": []}
        for metric in measured:
            entry[metric] = _interval(measured[metric][arm].estimate((0, 1)))
            entry[metric]["per_seed"] = [float(value) for value in measured[metric][arm].per_seed]
            # A reference arm is compared with those named before it, so that no question is asked twice.
            for reference in references[: references.index(arm)] if arm in references else references:
                other = measured[metric].get(reference)
                if other is not None and set(other.seeds) & set(auc.seeds):
                    difference = measured[metric][arm] - other
                    found = difference.estimate()
                    entry["comparisons"].append(
                        {
                            "reference": reference, "metric": metric, **_interval(found), "p": found.p,
                            "degrees_of_freedom": min(found.degrees_of_freedom, 1e9), "seeds": len(difference.seeds),
                        }
                    )  # fmt: skip
        described.append(entry)
    return described


def _interval(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _correct(entries: Sequence[Mapping[str, Any]]) -> None:
    for metric in METRICS:
        family = [found for entry in entries for found in entry["comparisons"] if found["metric"] == metric]
        for found, p in zip(family, holm([found["p"] for found in family]), strict=True):
            found["p_holm"] = p


def _plain(cell: Cell) -> dict[str, Any]:
    return asdict(cell)


def rows(summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of results.csv: one for each arm's value and for each comparison; ``reference`` is empty for values."""
    pooled = [{"classifier": "average", "arms": summary["average"]}] if summary["average"] else []
    for cell in (*summary["cells"], *pooled):
        for entry in cell["arms"]:
            shared = {**cell, **entry, "test_images": summary["test_images"], "test_units": summary["test_units"]}
            for metric in (m for m in METRICS if m in entry):
                yield {**shared, "metric": metric, **entry[metric], "seeds": len(entry["seeds"])}
            for comparison in entry["comparisons"]:
                yield {**shared, **comparison}
