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

from frerec.audit.figures import COLOURS, LABELS  # noqa: E402
from frerec.study.results import pool_studies  # noqa: E402

TITLES = {"chest_xray": "chest X-ray", "brain_mri": "brain MRI", "fundus": "fundus"}
GENERATORS = {"latent_flow": "latent flow", "pixel_diffusion": "pixel diffusion"}
ARMS = ("RAW", "GDA", "GDA+FreRec", "GDA+FreRec all")
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
    """Mean log10 radial power against the real mean, before and after, one panel for each audit there is."""
    audits = [(n, g, read(folder / "metrics.json")) for n, g, folder in pairs(evidence / "audits")]
    audits = [audit for audit in audits if audit[2]]
    figure = Figure(figsize=(3.6 * len(audits), 3.4), layout="constrained")
    panels = figure.subplots(1, max(1, len(audits)), sharey=True, squeeze=False)[0]
    for panel, (name, generator, found) in zip(panels, audits, strict=False):
        panel.set_title(f"{TITLES[name]}, {GENERATORS[generator]}", fontsize=10)
        x, real = np.asarray(found["frequencies"]), np.asarray(found["spectra"]["real"]["mean"])
        for group in ("real", "synthetic", "recalibrated_real", "recalibrated"):
            bands = found["spectra"][group]
            panel.fill_between(x, bands["p05"] - real, bands["p95"] - real, color=COLOURS[group], alpha=0.07, lw=0)
            dashed = "--" if group == "recalibrated_real" else "-"
            panel.plot(x, bands["mean"] - real, dashed, color=COLOURS[group], label=LABELS[group], lw=1.5)
        panel.axvspan(found["mask_ratio"], x[-1], color="#eef3f6", zorder=0)
        panel.set_xlim(0, x[-1])
        panel.set_xlabel("frequency (fraction of Nyquist)")
    panels[0].legend(fontsize=8)
    panels[0].set_ylabel("log10 power minus mean of real")
    save(figure, output / "evidence_spectra.svg")


def pareto(evidence: Path, output: Path) -> None:
    """Fidelity of real images against the distance that is left, over strength and mask ratio."""
    figure = Figure(figsize=(9.6, 6.4), layout="constrained")
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
        panels[1][column].set_xlabel("PSNR of real images (dB)")
    panels[0][0].set_ylabel("spectral gap, high band")
    panels[1][0].set_ylabel("detector AUC, high band")
    figure.legend(*panels[1][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    save(figure, output / "evidence_pareto.svg")


def forest(evidence: Path, output: Path) -> None:
    """Differences in AUC between arms with 95 % intervals, one panel for each label fraction."""
    rows: dict[float, list[tuple[str, float, float, float, str]]] = {}
    for name, generator, folder in pairs(evidence / "studies"):
        for cell in (read(folder / "metrics.json") or {"cells": []})["cells"]:
            for arm in cell["arms"]:
                for found in arm["comparisons"]:
                    if found["metric"] == "auc" and (arm["arm"], found["reference"]) != ("GDA+FreRec all", "RAW"):
                        label = f"{TITLES[name]}, {GENERATORS[generator]}: {arm['arm']} - {found['reference']}"
                        value = (label, found["value"], found["low"], found["high"], found["reference"])
                        rows.setdefault(cell["label_fraction"], []).append(value)
    if not rows:
        return
    names = list(dict.fromkeys(row[0] for found in rows.values() for row in found))
    figure = Figure(figsize=(4 + 3.2 * len(rows), 0.22 * len(names) + 1), layout="constrained")
    panels = figure.subplots(1, len(rows), squeeze=False, sharey=True)[0]
    for panel, (fraction, found) in zip(panels, sorted(rows.items(), reverse=True), strict=True):
        for name, value, low, high, reference in found:
            y, colour = names.index(name), {"RAW": "#333333", "GDA": "#00708a"}[reference]
            panel.plot([low, high], [y, y], color=colour, lw=1.4)
            panel.plot(value, y, "o", color=colour, ms=4)
        panel.axvline(0, color="#999999", lw=0.8)
        panel.set_title(f"{fraction:.0%} of the real training images", fontsize=10)
        panel.set_xlabel("difference in AUC, 95 % interval")
    panels[0].set_yticks(range(len(names)), names, fontsize=7)
    panels[0].invert_yaxis()
    save(figure, output / "evidence_study.svg")


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)]) + "\n"


def number(value: float, digits: int = 3, sign: bool = False) -> str:
    """A number without the leading zero."""
    return re.sub(r"^([+-]?)0\.", r"\1.", f"{value:{'+' if sign else ''}.{digits}f}")


def shown(found: dict[str, Any], digits: int = 3, sign: bool = False) -> str:
    """A value with its interval, without the leading zero."""
    texts = [number(found[key], digits, sign) for key in ("value", "low", "high")]
    return f"{texts[0]} ({texts[1]} to {texts[2]})"


def bias_table(evidence: Path) -> str:
    """Gap and detectors before and after, fidelity, at strength 0.3: one row for each set and generator."""
    rows = []
    for name, generator, folder in pairs(evidence / "sweeps"):
        found = read(folder / "strength" / "sweep.json") or []
        before = [row for row in found if row["stage"] == "before"]
        after = [row for row in found if row["stage"] == "FreRec" and row["strength"] == 0.3]
        for sides in zip(before, after, strict=False):
            cells = [number(row[key]) for key in ("gap_high", "auc_high", "auc_high_hann") for row in sides]
            kept = [f"{sides[1]['psnr']:.1f}", number(sides[1]["ssim"])]
            rows.append([f"{TITLES[name]}, {GENERATORS[generator]}", *cells, *kept])
    head = [f"{what} {when}" for what in ("gap", "AUC", "Hann") for when in ("before", "after")]
    return markdown(["set, generator", *head, "PSNR", "SSIM"], rows)


def study_table(evidence: Path) -> str:
    """One row for each set, generator and label fraction, and one for all: AUC of every arm and what FreRec changes."""
    rows, folders = [], []
    for name, generator, folder in pairs(evidence / "studies"):
        summary = read(folder / "metrics.json")
        if summary:
            folders.append(folder)
            for cell in sorted(summary["cells"], key=lambda cell: -cell["label_fraction"]):
                label = f"{TITLES[name]}, {GENERATORS[generator]}, {cell['label_fraction']:.0%}"
                rows.append([label, *compared(cell["arms"])])
    if len(folders) > 1:
        rows.append(["**mean of all**", *compared(pool_studies(folders))])
    head = ["set, generator, labels", *ARMS, "GDA minus RAW", "FreRec minus GDA", "FreRec minus RAW", "all minus GDA"]
    return markdown(head, rows)


def compared(arms: Sequence[dict[str, Any]]) -> list[str]:
    """AUCs of the arms and the differences that matter, with intervals; a star where the corrected p is below .05."""
    known = {arm["arm"]: arm for arm in arms}
    cells = [f"{known[name]['auc']['value']:.3f}"[1:] if name in known else "" for name in ARMS]
    for name, reference in (("GDA", "RAW"), ("GDA+FreRec", "GDA"), ("GDA+FreRec", "RAW"), ("GDA+FreRec all", "GDA")):
        for found in known.get(name, {"comparisons": []})["comparisons"]:
            if (found["reference"], found["metric"]) == (reference, "auc"):
                cells.append(shown(found, 3, True) + ("*" if found["p_holm"] < 0.05 else ""))
    return cells


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
