"""The study as a page: what was found in words, a table and a forest plot for each cell."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.figure import Figure

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem}
.study-scroll{overflow-x:auto}
table.study{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums;width:100%}
.study th,.study td{border-bottom:1px solid #d0d7de;padding:.3rem .6rem;text-align:left;white-space:nowrap}
.study td.help{box-shadow:inset 4px 0 #1a7f37}.study td.harm{box-shadow:inset 4px 0 #b3261e}
.study small{color:#57606a;display:block}figure{margin:1rem 0}figure svg{max-width:100%;height:auto}
@media print{body{max-width:none;padding:0}section.study-cell{break-inside:avoid}
.study-scroll{overflow:visible}}
"""

COLOURS = {"help": "#1a7f37", "harm": "#b3261e", "open": "#57606a"}


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
    head = ["arm", "AUC", "accuracy", *(f"AUC minus {reference}" for reference in references), "seeds", "images"]
    lines = [f"<tr>{''.join(f'<th scope=col>{escape(word)}</th>' for word in head)}</tr>"]
    for entry in arms:
        images = f"{entry['real_images']} + {entry['synthetic_images']}" if "real_images" in entry else ""
        cells = [escape(entry["arm"]), *(_with_interval(entry[metric], "") for metric in ("auc", "accuracy"))]
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        for found in (_found(entry, reference, "auc") for reference in references):
            words = _with_interval(found, "+", found["p_holm"]) if found else ""
            row += f'<td class="{verdict(found) if found else "none"}">{words}</td>'
        lines.append(f"<tr>{row}<td>{len(entry['seeds'])}</td><td>{images}</td></tr>")
    return f'<div class="study-scroll"><table class="study">{"".join(lines)}</table></div>'


def _with_interval(found: Mapping[str, Any], sign: str, p: float | None = None) -> str:
    low, high = f"{found['low']:{sign}.3f}", f"{found['high']:{sign}.3f}"
    tail = "" if p is None else f"; p {'&lt; .001' if p < 0.001 else f'{p:.3f}'}"
    return f"{found['value']:{sign}.3f} <small>({low} to {high}{tail})</small>"


def study_section(summary: Mapping[str, Any]) -> str:
    """The whole study as HTML for a report: no scripts, no outside references; needs :data:`STYLE`.

    Args:
        summary: from :func:`frerec.study.results.summarise`, or read from metrics.json.
    """
    runs, references = summary["runs"], summary["references"]
    planned = runs.get("planned", runs["finished"])
    schedule = summary["settings"]["schedule"]
    size = " x ".join(str(n) for n in summary["settings"]["image_size"])
    parts = [
        "<h2>Downstream study</h2>",
        f"<p>{runs['finished']} of {planned} runs finished. Test set: {summary['test_images']} real images of "
        f"{summary['test_units']} patients (or single images where patients are not known), classes "
        f"{escape(', '.join(summary['classes']))}, size {size}. Every run: {schedule['max_steps']} optimiser steps of "
        f"{schedule['batch_size']} images in every arm, whatever the number of training images; weights selected on "
        "validation AUC only. Values are means over seeds. Intervals (95 %) take test cases and seeds as samples, "
        f"paired between arms ({summary['draws']} resamples); p values are Holm-corrected.</p>",
    ]
    if runs["finished"] < planned:
        parts.append("<p><strong>The study is not complete: the figures will change.</strong></p>")
    sections = [(_title(cell), cell["arms"]) for cell in summary["cells"]]
    if summary["average"]:
        sections.insert(0, ("Average over all settings below", summary["average"]))
    for title, arms in sections:
        found = [(e["arm"], c) for e in arms for c in e["comparisons"] if c["metric"] == "auc"]
        words = "".join(f"<li>{escape(sentence(arm, c))}</li>" for arm, c in found)
        parts.append(
            f'<section class="study-cell"><h2>{escape(title)}</h2>{study_table(arms, references)}'
            f"<figure>{forest_plot(arms, references)}</figure><details><summary>In words</summary><ul>{words}</ul>"
            "</details></section>"
        )
    return "\n".join(parts)


def _title(cell: Mapping[str, Any]) -> str:
    return (
        f"{cell['classifier']}, {cell['label_fraction']:.0%} of the real training images, "
        f"{cell['synthetic_ratio']:g} synthetic per real"
    )


def study_page(summary: Mapping[str, Any]) -> str:
    """A self-contained HTML page of the study; argument as in :func:`study_section`."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>FreRec: downstream study</title>'
        f"<style>{STYLE}</style></head><body><h1>FreRec: does augmentation help this classifier?</h1>"
        f"{study_section(summary)}</body></html>\n"
    )
