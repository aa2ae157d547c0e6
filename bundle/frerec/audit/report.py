"""The audit report: one HTML file that needs nothing else."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import monai
import torch

import frerec
from frerec.audit import figures
from frerec.files import atomic_write, printable
from frerec.report.html import card, cards, image_tag, note, page, section, table

GROUP_LABELS = {
    "real": "real",
    "synthetic": "synthetic",
    "recalibrated": "recalibrated synthetic",
    "recalibrated_real": "recalibrated real",
    "shr": "after SHR only",
    "training": "training",
}


def reproduce_command(settings: Mapping[str, Any]) -> str:
    """The command line that repeats the audit with these settings."""
    words = ["python -m monai.bundle run --config_file configs/evaluate.json"]
    for key, value in settings.items():
        if value is not None and value != "":
            words.append(f"--{key} {shlex.quote(printable(str(value)))}")
    return " \\\n  ".join(words)


def _cell(x: Mapping[str, Any] | None, digits: int = 3) -> str:
    return f"{x['value']:.{digits}f} ({x['low']:.{digits}f} to {x['high']:.{digits}f})" if x else "-"


def _gap_table(result: Mapping[str, Any]) -> str:
    rows = []
    for name, comparison in result["comparisons"].items():
        gap = comparison["gap"]
        rows.append([figures.comparison_label(result, name), _cell(gap["high"]), _cell(gap["whole"])])
    return table(["gap in decades of power (95 % interval)", "high band", "whole spectrum"], rows)


def _detector_table(result: Mapping[str, Any]) -> str:
    found = {n: c["detector"] for n, c in result["comparisons"].items() if c.get("detector")}
    names = [key for key in figures.DETECTOR_LABELS if any(key in d for d in found.values())]
    if not names:
        return note("Too few images for a detector: at least 20 are needed on each side.")
    header = ["AUC (95 % interval)", *(figures.DETECTOR_LABELS[n] for n in names), "strongest"]
    rows = []
    for name, detectors in found.items():
        strongest = max(detectors.values(), key=lambda auc: auc["value"])
        cells = [_cell(detectors.get(n), 2) for n in names]
        rows.append([figures.comparison_label(result, name), *cells, f"{strongest['value']:.2f}"])
    return table(header, rows)


def _artefact_table(result: Mapping[str, Any]) -> str | None:
    rows = []
    for name, comparison in result["comparisons"].items():
        ringing, found = comparison.get("ringing", {}), comparison.get("map")
        if found:
            lattice = f"{found['peak']:.2f} (period {found['peak_period']}; {found['peak_z']:.0f} standard errors)"
            cells = [_cell(ringing.get(kind), 2) for kind in ("edges", "borders")]
            rows.append([figures.comparison_label(result, name), lattice, f"{found['angular']:.2f}", *cells])
    header = ["decades of power", "sharpest point", "off the rings", "ringing at edges", "ringing at borders"]
    return table(header, rows) if rows else None


def _distribution_table(result: Mapping[str, Any]) -> str | None:
    keys = {"fid": "FID", "kid": "KID", "precision": "precision", "recall": "recall", "density": "density"}
    keys["coverage"] = "coverage"
    rows = []
    for name, comparison in result["comparisons"].items():
        found = comparison.get("distribution")
        if found:
            cells = [f"{found[k]:.3f}" for k in keys]
            cells[1] = f"{found['kid']:.4f} ± {found['kid_std']:.4f}"
            rows.append([figures.comparison_label(result, name), *cells, f"{found['n']} / {found['n_reference']}"])
    return table(["feature space", *keys.values(), "images"], rows) if rows else None


def _fidelity_table(result: Mapping[str, Any]) -> str | None:
    rows = []
    for side, found in result["fidelity"].items():
        cells = []
        for name, digits in (("psnr", 2), ("ssim", 4), ("ms_ssim", 4)):
            x = found.get(name)
            cells.append(f"{x['mean']:.{digits}f} ({x['low']:.{digits}f}; {x['minimum']:.{digits}f})" if x else "-")
        rows.append([side, *cells, str(found["n"]), str(found["unchanged"])])
    header = ["mean (5th percentile; minimum)", "PSNR in dB", "SSIM", "MS-SSIM", "images", "unchanged"]
    return table(header, rows) if rows else None


def _copies_table(result: Mapping[str, Any]) -> str | None:
    rows = []
    for name in ("synthetic", "recalibrated"):
        for pair in result["copies"].get(name, {}).get("closest", [])[:8]:
            verdict = "suspect" if pair["suspect"] else ""
            files = [printable(Path(pair[key]).name) for key in ("image", "nearest")]
            rows.append([GROUP_LABELS[name], *files, f"{pair['correlation']:.4f}", verdict])
    return table(["set", "output", "nearest real image", "correlation", ""], rows) if rows else None


def _skipped(result: Mapping[str, Any]) -> str | None:
    skipped = result["skipped"]
    if not skipped:
        return None
    items = "".join(f"<li>{escape(entry['reason'])}</li>" for entry in skipped[:50])
    more = note(f"and {len(skipped) - 50} more, listed in metrics.json") if len(skipped) > 50 else ""
    return f"<ul>{items}</ul>{more}"


def _header(result: Mapping[str, Any]) -> str:
    counts = [f"{n} {GROUP_LABELS[group]}" for group, n in result["groups"].items() if n]
    warning = ""
    if result["skipped"]:
        warning = f'<p class="warning">{len(result["skipped"])} images could not be used; they are listed below.</p>'
    source = " The real spectra come from a reference bank, not from images." if result["real_source"] == "bank" else ""
    return (
        "<header><h1>Audit of a generated image set</h1>"
        f"<p>{escape(', '.join(counts))} images. High band: from {result['mask_ratio']} of the Nyquist frequency on."
        f"{escape(source)}</p>{warning}</header>"
    )


def render_report(result: Mapping[str, Any], strip: bytes | None, pairs: bytes | None) -> str:
    """The whole page.

    Args:
        result: measures and verdicts of an audit.
        strip: picture strip as PNG, if there is one.
        pairs: closest pairs of the copy check as PNG, if there are any.

    Returns:
        HTML without any reference to another file or host.
    """
    detectors, maps = figures.detector_figure(result), figures.map_figure(result)
    versions = f"frerec {frerec.__version__}, MONAI {monai.__version__}, PyTorch {torch.__version__}, Python "
    body = [
        _header(result),
        cards("In short", [card(**verdict) for verdict in result["verdicts"]]),
        section(
            "Examples",
            image_tag(strip, "input, recalibrated image, difference and spectra", "wide") if strip else None,
            note("Difference: red is brighter and blue darker after recalibration; full colour is 5 % of the range."),
        )
        if strip
        else "",
        section(
            "Radial power spectra",
            note("Mean over the images; shades: the middle half and nine tenths of them. The high band is tinted."),
            image_tag(figures.spectra_figure(result), "radial power spectra of every group"),
            image_tag(figures.difference_figure(result), "difference from the reference before and after"),
            note(
                "The gap is the mean distance between two mean spectra. It is never exactly 0: the line about real "
                "against real images tells what chance makes."
            ),
            _gap_table(result),
        ),
        section(
            "Can a detector tell?",
            note(
                "AUC by cross-validation: the chance that a synthetic image scores higher than a real one. 0.5 cannot "
                "tell, 1 always tells. The first detector sees what recalibration itself works on and is the kindest; "
                "the others share nothing with it. Real against real is the line of chance. Intervals hold the choice "
                "of images, not the training; at exactly 1 they collapse."
            ),
            image_tag(detectors, "AUC of every detector with intervals") if detectors else None,
            _detector_table(result),
        ),
        section(
            "Lattices and ringing",
            image_tag(maps, "two-dimensional difference spectra"),
            note(
                "Zero frequency is in the middle, Nyquist at the edges. A checkerboard shows as dots in the corners, "
                "an upsampling grid as dots at even distances, a preferred direction as a bar. The circle marks the "
                "sharpest point. Ringing is power beside strong edges and along the borders of the picture, as a sharp "
                "cut in the spectrum leaves it, less that of the reference."
            ),
            _artefact_table(result),
        )
        if maps
        else "",
        section("Fidelity of what was changed", _fidelity_table(result)),
        section(
            "Distance of the sets in feature space",
            note(
                f"Feature space: {result['feature_space']}. These are not Inception numbers: compare them within this "
                "report, or between audits with the same feature network, never with published FID."
            ),
            _distribution_table(result),
        )
        if any("distribution" in c for c in result["comparisons"].values())
        else "",
        section(
            "Search for copies",
            image_tag(pairs, "outputs and the real images nearest to them", "wide") if pairs else None,
            note(
                "Correlation of 32 x 32 pictures, mirrored ones included. It finds whole copies, not copied details, "
                "and its silence is no proof of privacy."
            )
            if result["copies"]
            else None,
            _copies_table(result),
        ),
        section("Images that could not be used", _skipped(result)),
        section(
            "How to repeat this",
            f"<pre>{escape(reproduce_command(result['settings']))}</pre>",
            note(versions + platform.python_version() + ". All figures are in metrics.json and metrics.csv."),
            note("This file contains example images and file names; handle it like the data it was made from."),
        ),
    ]
    return page("FreRec audit", body)


def write_report(
    output_dir: Path, result: Mapping[str, Any], strip: bytes | None = None, pairs: bytes | None = None
) -> None:
    """Write ``report.html`` and, where there are examples, ``strip.png``."""
    files = {"strip.png": strip, "report.html": render_report(result, strip, pairs).encode()}
    for name, content in files.items():
        if content:
            with atomic_write(output_dir / name) as stream:
                stream.write(content)
