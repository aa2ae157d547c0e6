"""Draw the figures and tables of docs/evidence.md from what scripts/evidence.py made.

python scripts/plot_evidence.py --evidence evidence --output docs/figures
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bundle"))

from frerec.evaluation.figures import COLOURS, LABELS  # noqa: E402
from frerec.evaluation.study.results import pool_studies  # noqa: E402

TITLES = {"chest_xray": "chest X-ray", "brain_mri": "brain MRI", "fundus": "fundus"}
GENERATORS = {"latent_flow": "latent flow", "pixel_diffusion": "pixel diffusion"}
STAGES = {"RHM": "#d1901f", "SHR": "#6a5acd", "SHR+RHM": "#777777", "FreRec": "#00708a"}
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "frerec",
}


def save(figure: Figure, path: Path) -> None:
    """Write an SVG that is the same for the same data."""
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    print(f"wrote {path}")


def read(path: Path) -> Any:
    """A JSON file, or None where it is missing."""
    return json.loads(path.read_text()) if path.exists() else None


def pairs(folder: Path) -> Iterable[tuple[str, str, Path]]:
    """Every set and generator, with its folder."""
    return ((name, generator, folder / name / generator) for name in TITLES for generator in GENERATORS)


def spectra(evidence: Path, output: Path) -> None:
    """Mean log10 radial power against the real mean, before and after, one panel for each set and generator."""
    figure = Figure(figsize=(9, 8))
    axes = figure.subplots(3, 2, sharex=True, squeeze=False)
    for place, (name, generator, folder) in enumerate(pairs(evidence / "audits")):
        panel, found = axes[place // 2][place % 2], read(folder / "metrics.json")
        panel.set_title(f"{TITLES[name]}, {GENERATORS[generator]}", fontsize=10)
        if not found:
            continue
        x, real = np.asarray(found["frequencies"]), np.asarray(found["spectra"]["real"]["mean"])
        for group in ("real", "synthetic", "recalibrated_real", "recalibrated"):
            bands = found["spectra"][group]
            panel.fill_between(x, bands["p05"] - real, bands["p95"] - real, color=COLOURS[group], alpha=0.07, lw=0)
            dashed = "--" if group == "recalibrated_real" else "-"
            panel.plot(x, bands["mean"] - real, dashed, color=COLOURS[group], label=LABELS[group], lw=1.5)
        panel.axvspan(found["mask_ratio"], x[-1], color="#eef3f6", zorder=0)
        panel.set_xlim(0, x[-1])
    axes[0][0].legend(fontsize=8)
    for panel in axes[:, 0]:
        panel.set_ylabel("log10 power\nminus mean of real")
    for panel in axes[-1]:
        panel.set_xlabel("spatial frequency (fraction of Nyquist)")
    save(figure, output / "evidence_spectra.svg")


def pareto(evidence: Path, output: Path) -> None:
    """Fidelity of real images against the distance that is left, over strength and mask ratio."""
    figure = Figure(figsize=(9, 6.4))
    panels = figure.subplots(2, 3, squeeze=False)
    for column, name in enumerate(TITLES):
        for generator, marker in zip(GENERATORS, "os", strict=True):
            rows = read(evidence / "sweeps" / name / generator / "strength" / "sweep.json") or []
            before = next((row for row in rows if row["stage"] == "before"), None)
            for stage, colour in STAGES.items():
                chosen = [row for row in rows if row["stage"] == stage]
                for panel, key in zip(panels[:, column], ("gap_high", "auc_high"), strict=True):
                    x, y = [row["psnr"] for row in chosen], [row[key] for row in chosen]
                    label = f"{stage}, {GENERATORS[generator]}"
                    panel.plot(x, y, f"-{marker}", color=colour, ms=4, lw=1, mfc="none", label=label)
            if before:
                for panel, key in zip(panels[:, column], ("gap_high", "auc_high"), strict=True):
                    panel.axhline(before[key], color=COLOURS["synthetic"], lw=0.8, ls=":")
        panels[0][column].set_title(TITLES[name], fontsize=10)
        panels[0][column].set_yscale("log")
        panels[1][column].set_xlabel("PSNR of recalibrated real images (dB)")
    panels[0][0].set_ylabel("spectral gap, high band")
    panels[1][0].set_ylabel("detector AUC, high band")
    panels[1][0].legend(fontsize=6)
    save(figure, output / "evidence_pareto.svg")


def forest(evidence: Path, output: Path) -> None:
    """Differences in AUC between arms with 95 % intervals, one panel for each label fraction."""
    rows: dict[float, list[tuple[str, float, float, float, str]]] = {}
    for name, generator, folder in pairs(evidence / "studies"):
        for cell in (read(folder / "metrics.json") or {"cells": []})["cells"]:
            for arm in cell["arms"]:
                for found in arm["comparisons"]:
                    if found["metric"] == "auc":
                        label = f"{TITLES[name]}, {GENERATORS[generator]}: {arm['arm']} - {found['reference']}"
                        value = (label, found["value"], found["low"], found["high"], found["reference"])
                        rows.setdefault(cell["label_fraction"], []).append(value)
    if not rows:
        return
    longest = max(map(len, rows.values()))
    figure = Figure(figsize=(5.5 * len(rows), 0.24 * longest + 1))
    for panel, (fraction, found) in zip(
        figure.subplots(1, len(rows), squeeze=False)[0], sorted(rows.items(), reverse=True), strict=True
    ):
        for y, (_, value, low, high, reference) in enumerate(found):
            colour = {"RAW": "#333333", "GDA": "#00708a"}[reference]
            panel.plot([low, high], [y, y], color=colour, lw=1.4)
            panel.plot(value, y, "o", color=colour, ms=4)
        panel.axvline(0, color="#999999", lw=0.8)
        panel.set_yticks(range(len(found)), [row[0] for row in found], fontsize=7)
        panel.set_title(f"{fraction:.0%} of the real training images", fontsize=10)
        panel.set_xlabel("difference in AUC, 95 % interval")
        panel.invert_yaxis()

    save(figure, output / "evidence_study.svg")


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)]) + "\n"


def shown(found: dict[str, Any], digits: int = 3, sign: bool = False) -> str:
    """A value with its interval, without the leading zero."""
    texts = [f"{found[key]:{'+' if sign else ''}.{digits}f}" for key in ("value", "low", "high")]
    texts = [re.sub(r"^([+-]?)0\.", r"\1.", text) for text in texts]
    return f"{texts[0]} ({texts[1]} to {texts[2]})"


def bias_table(evidence: Path) -> str:
    """Gap and detectors before and after, fidelity: one row for each set and generator."""
    rows = []
    for name, generator, folder in pairs(evidence / "audits"):
        found = read(folder / "metrics.json")
        if found:
            sides = [found["comparisons"][side] for side in ("before", "after")]
            cells = [shown(side["gap"]["high"], 2) for side in sides]
            cells += [shown(side["detector"]["radial_high"], 2) for side in sides]
            cells += [f"{side['detector']['cnn']['value']:.2f}" for side in sides]
            kept = found["fidelity"]["real"]
            cells += [f"{kept['psnr']['mean']:.1f}", f"{kept['ssim']['mean']:.3f}"]
            rows.append([f"{TITLES[name]}, {GENERATORS[generator]}", *cells])
    head = ["set, generator", "gap before", "gap after", "AUC before", "AUC after", "CNN before", "CNN after"]
    return markdown([*head, "PSNR real (dB)", "SSIM real"], rows)


def study_table(evidence: Path) -> str:
    """AUC of every arm and its difference to RAW and GDA, per set, generator and label fraction, and pooled."""
    rows, folders = [], []
    for name, generator, folder in pairs(evidence / "studies"):
        summary = read(folder / "metrics.json")
        if not summary:
            continue
        folders.append(folder)
        for cell in summary["cells"]:
            for arm in cell["arms"]:
                rows.append([TITLES[name], GENERATORS[generator], f"{cell['label_fraction']:.0%}", *described(arm)])
    if len(folders) > 1:
        rows += [["**all**", "**all**", "**all**", *described(arm)] for arm in pool_studies(folders)]
    head = [
        "set",
        "generator",
        "labels",
        "arm",
        "seeds",
        "AUC",
        "accuracy",
        "AUC minus RAW",
        "AUC minus GDA",
        "p (Holm)",
    ]
    return markdown(head, rows)


def described(arm: dict[str, Any]) -> list[str]:
    """The cells of an arm."""
    found = {(c["reference"], c["metric"]): c for c in arm["comparisons"]}
    cells = [arm["arm"], str(len(arm["seeds"])), shown(arm["auc"]), f"{arm['accuracy']['value']:.3f}"]
    cells += [shown(found[ref, "auc"], 3, True) if (ref, "auc") in found else "" for ref in ("RAW", "GDA")]
    p_values = [f"{ref} {found[ref, 'auc']['p_holm']:.2g}" for ref in ("RAW", "GDA") if (ref, "auc") in found]
    return [*cells, ", ".join(p_values)]


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evidence", type=Path, default=Path("evidence"), help="output of scripts/evidence.py")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "figures")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for draw in (spectra, pareto, forest):
            draw(args.evidence, args.output)
    for table in (bias_table, study_table):
        print(table(args.evidence))


if __name__ == "__main__":
    main()
