"""The study as a page: what was found in words, a table and a forest plot for each cell."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from frerec.report.html import note, page, section, table

#: Colour in the plot, and tone in the table, of each verdict.
COLOURS = {"help": "#1a7f37", "harm": "#b3261e", "open": "#57606a"}
TONES = {"help": "good", "harm": "bad", "open": ""}
_MEASURES = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "average_precision": "average precision",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity at 90 % specificity",
    "calibration_error": "calibration error",
}


def verdict(comparison: Mapping[str, Any]) -> str:
    """``help``, ``harm`` or ``open``: whether a difference survives Holm's correction at 5 %."""
    if comparison["p_holm"] >= 0.05:
        return "open"
    return "help" if comparison["value"] > 0 else "harm"


def sentence(arm: str, comparison: Mapping[str, Any]) -> str:
    """One comparison in plain words, with its uncertainty."""
    low, high = f"{comparison['low']:+.3f}", f"{comparison['high']:+.3f}"
    what = f"{arm} against {comparison['reference']}: AUC {comparison['value']:+.3f} (95 % interval {low} to {high})"
    told = {
        "help": "it helps, and the difference survives the correction for the number of comparisons",
        "harm": "it harms, and the difference survives the correction for the number of comparisons",
        "open": "no difference shown; anything within the interval remains possible",
    }
    return f"{what}: {told[verdict(comparison)]}."


def forest_plot(arms: Sequence[Mapping[str, Any]], references: Sequence[str], metric: str = "auc") -> str:
    """Forest plot of one cell: a column for each reference arm, a row for each arm.

    Args:
        arms: ``arms`` of a cell, or ``average``, from :func:`frerec.study.results.summarise`.
        references: reference arms.
        metric: ``auc`` or ``accuracy``.

    Returns:
        An SVG element without outside references; equal numbers give equal text.
    """
    columns = [r for r in references if any(_found(entry, r, metric) for entry in arms)]
    rows = [entry for entry in arms if any(_found(entry, r, metric) for r in columns)]
    if not columns:
        return ""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "frerec", "font.family": "sans-serif"}):
        figure = Figure(figsize=(3.2 + 3.2 * len(columns), 0.9 + 0.32 * len(rows)), layout="constrained")
        axes = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
        for axis, reference in zip(axes, columns, strict=True):
            axis.axvline(0, color="#8c959f", linewidth=1)
            for y, entry in enumerate(rows):
                found = _found(entry, reference, metric)
                if found:
                    colour = COLOURS[verdict(found)]
                    axis.plot([found["low"], found["high"]], [y, y], color=colour, linewidth=2)
                    axis.plot([found["value"]], [y], "s", color=colour, markersize=6)
            axis.set_title(f"{metric.upper() if metric == 'auc' else metric} minus {reference}", fontsize=10)
            axis.set_yticks(range(len(rows)), [entry["arm"] for entry in rows])
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.tick_params(labelsize=9)
            axis.spines[["top", "right"]].set_visible(False)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :].replace("<svg ", '<svg role="img" aria-label="forest plot" ', 1)


def _found(entry: Mapping[str, Any], reference: str, metric: str) -> dict[str, Any] | None:
    found = [c for c in entry["comparisons"] if c["reference"] == reference and c["metric"] == metric]
    return found[0] if found else None


def study_table(arms: Sequence[Mapping[str, Any]], references: Sequence[str]) -> str:
    """HTML table of one cell; arguments as in :func:`forest_plot`."""
    head = ["arm", "AUC", *(f"AUC minus {reference}" for reference in references), "seeds", "real + synthetic images"]
    rows, tones = [], []
    for entry in arms:
        found = [_found(entry, reference, "auc") for reference in references]
        images = f"{entry['real_images']} + {entry['synthetic_images']}" if "real_images" in entry else ""
        compared = [_with_interval(f, "+", f["p_holm"]) if f else "" for f in found]
        rows.append([entry["arm"], _with_interval(entry["auc"], ""), *compared, str(len(entry["seeds"])), images])
        tones.append(["", *(TONES[verdict(f)] if f else "" for f in found), "", ""])
    return table(head, rows, tones)


def measures_table(arms: Sequence[Mapping[str, Any]]) -> str:
    """HTML table of every measure of one cell, and of the shortcut probe."""
    measures = [m for m in _MEASURES if all(m in entry for entry in arms)]
    probes = sorted({name for entry in arms for name in entry.get("probe", {})})
    rows = [
        [
            entry["arm"],
            *(_with_interval(entry[m], "") for m in measures),
            *(f"{entry['probe'][name]:.2f}" if "probe" in entry else "" for name in probes),
        ]
        for entry in arms
    ]
    return table(["arm", *(_MEASURES[m] for m in measures), *(f"probe: {name}" for name in probes)], rows)


def _with_interval(found: Mapping[str, Any], sign: str, p: float | None = None) -> str:
    low, high = f"{found['low']:{sign}.3f}", f"{found['high']:{sign}.3f}"
    tail = "" if p is None else f"; p {'< .001' if p < 0.001 else f'{p:.3f}'}"
    return f"{found['value']:{sign}.3f} ({low} to {high}{tail})"


def study_section(summary: Mapping[str, Any]) -> str:
    """The whole study as HTML for a report: no scripts, no outside references; for :func:`frerec.report.html.page`.

    Args:
        summary: from :func:`frerec.study.results.summarise`, or read from metrics.json.
    """
    runs, references = summary["runs"], summary["references"]
    planned = runs.get("planned", runs["finished"])
    schedule = summary["settings"]["schedule"]
    size = " x ".join(str(n) for n in summary["settings"]["image_size"])
    parts = [
        note(
            f"{runs['finished']} of {planned} runs finished. Test set: {summary['test_images']} real images of "
            f"{summary['test_units']} patients (or single images where patients are not known), classes "
            f"{', '.join(summary['classes'])}, size {size}. Every run: {schedule['max_steps']} optimiser steps of "
            f"{schedule['batch_size']} images in every arm, whatever the number of training images; weights selected "
            "on validation AUC only. Values are means over seeds. Intervals (95 %) take test cases and seeds as "
            f"samples, paired between arms ({summary['draws']} resamples); p values are Holm-corrected."
        )
    ]
    if runs["finished"] < planned:
        parts.append('<p class="warning">The study is not complete: the figures will change.</p>')
    body = [section("Downstream study", *parts)]
    cells = [(_title(cell), cell["arms"]) for cell in summary["cells"]]
    if summary["average"]:
        cells.insert(0, ("Average over all settings below", summary["average"]))
    for title, arms in cells:
        found = [(e["arm"], c) for e in arms for c in e["comparisons"] if c["metric"] == "auc"]
        words = "".join(f"<li>{escape(sentence(arm, c))}</li>" for arm, c in found)
        more = f"<details><summary>All measures</summary>{measures_table(arms)}</details>"
        told = f"<details><summary>In words</summary><ul>{words}</ul></details>" if words else None
        body.append(section(title, study_table(arms, references), forest_plot(arms, references), more, told))
    return "\n".join(body)


def _title(cell: Mapping[str, Any]) -> str:
    if cell.get("rare_class"):
        kept = f"{cell['rare_fraction']:.0%} of the real training images of {cell['rare_class']}"
        return f"{cell['classifier']}, {kept}, {cell['label_fraction']:.0%} of the others"
    return (
        f"{cell['classifier']}, {cell['label_fraction']:.0%} of the real training images, "
        f"{cell['synthetic_ratio']:g} synthetic per real"
    )


def study_page(summary: Mapping[str, Any]) -> str:
    """A self-contained HTML page of the study; argument as in :func:`study_section`."""
    head = "<header><h1>FreRec: does augmentation help this classifier?</h1></header>"
    return page("FreRec: downstream study", [head, study_section(summary)])
