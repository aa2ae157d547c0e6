"""Draw the figures and write the tables of docs/evidence.md from what scripts/evidence.py made.

python scripts/plot_evidence.py --evidence evidence --output docs/figures

What is not there is left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from evidence_results import PAIRS, ROOT, Cell, Results, before, number, pools, read, shown
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from frerec.audit.figures import COLOURS, LABELS
from frerec.study.statistics import average

MEASURES = ("auc", "average_precision", "balanced_accuracy", "sensitivity", "calibration_error")
STYLE: dict[Any, Any] = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "svg.hashsalt": "frerec",
}  # fmt: skip


def save(figure: Figure, path: Path) -> None:
    """Write an SVG that is the same for the same data."""
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    print(f"wrote {path}")


def forest(results: Results, titles: dict[str, str], output: Path) -> None:
    """The three differences that matter, a row for each cell, and pooled."""
    names = {cell: f"{told(cell, titles)}, {cell.rare_fraction:.0%}" for cell in results.cells}
    rows = [(names[cell], [cell], "#57606a") for cell in results.cells]
    rows += [(name, cells, "#00708a") for name, cells in pools(results)]
    figure = Figure(figsize=(4 + 2.8 * len(PAIRS), 0.2 * len(rows) + 1), layout="constrained")
    panels = figure.subplots(1, len(PAIRS), sharey=True, squeeze=False)[0]
    for panel, (arm, reference) in zip(panels, PAIRS, strict=True):
        panel.axvline(0, color="#999999", lw=0.8)
        for y, (_, cells, colour) in enumerate(rows):
            found = results.difference(cells, arm, reference)
            panel.plot([found.low, found.high], [y, y], color=colour, lw=1.4)
            panel.plot(found.value, y, "o", color=colour, ms=4)
        panel.set_title(f"{arm} minus {reference}", fontsize=10)
        panel.set_xlabel("difference in AUC, 95 % interval")
    panels[0].set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=7)
    panels[0].invert_yaxis()
    save(figure, output / "evidence_rare.svg")


def told(cell: Cell, titles: dict[str, str]) -> str:
    """A cell in words, without its share."""
    words = f"{titles.get(cell.set, cell.set)}, {cell.generator.replace('_', ' ')}, {cell.rare_class}"
    return words if cell.kind == "small_resnet" else f"{words}, {cell.kind}"


def predictors(results: Results) -> dict[str, dict[Cell, float]]:
    """What might foretell the harm of adding images, by name: before training, and the probe."""
    found: dict[str, dict[Cell, float]] = {}
    for cell in results.cells:
        audit = results.audit(cell)
        values = {"probe, source": results.mean(cell, "GDA", "probe_source"),
                  "probe, filtered": results.mean(cell, "GDA", "probe_filtered")}  # fmt: skip
        if audit:
            values["gap, high"] = before(audit, "gap", "high")
            values |= {f"detector, {n}": before(audit, "detector", n) for n in ("radial_hann", "cnn_pixels")}
        figures = (read(results.evidence / "tuned" / Path(*cell[:3]) / "metrics.json") or {}).get("figures")
        if figures:
            values |= {f"{name} of the class": figures["GDA"][name] for name in ("gap", "peak")}
        for name, value in values.items():
            if value is not None and np.isfinite(value):
                found.setdefault(name, {})[cell] = value
    return found


def harm(results: Results, output: Path) -> list[list[str]]:
    """GDA minus RAW against everything that might foretell it; rows of a table of rank correlations."""
    known = predictors(results)
    figure = Figure(figsize=(2.6 * len(known), 2.8), layout="constrained")
    rows = []
    for panel, (name, values) in zip(figure.subplots(1, len(known), squeeze=False, sharey=True)[0], known.items(),
                                     strict=True):  # fmt: skip
        x, y = list(values.values()), [results.difference([cell], "GDA", "RAW").value for cell in values]
        panel.axhline(0, color="#999999", lw=0.8)
        panel.plot(x, y, "o", color=COLOURS["synthetic"], ms=4, mfc="none")
        varied = len(set(x)) > 1 and len(set(y)) > 1
        rho, p = spearmanr(x, y) if varied and len(x) > 2 else (np.nan, np.nan)
        panel.set_xlabel(f"{name}\nrank correlation {rho:.2f}")
        rows.append([name, str(len(x)), f"{rho:+.2f}", f"{p:.3f}"])
    figure.axes[0].set_ylabel("AUC, GDA minus RAW")
    save(figure, output / "evidence_harm.svg")
    return rows


def spectra(results: Results, titles: dict[str, str], output: Path) -> None:
    """Mean log10 radial power against the real mean, before and after, one panel for each audit there is."""
    names = dict.fromkeys((cell.set, cell.generator) for cell in results.cells)
    audits = [(n, g, found) for n, g in names if (found := results.audit(Cell(n, g, "", 0, "")))]
    if not audits:
        return
    figure = Figure(figsize=(3.6 * len(audits), 3.4), layout="constrained")
    panels = figure.subplots(1, len(audits), sharey=True, squeeze=False)[0]
    for panel, (name, generator, found) in zip(panels, audits, strict=True):
        panel.set_title(f"{titles.get(name, name)}, {generator.replace('_', ' ')}", fontsize=10)
        x, real = np.asarray(found["frequencies"]), np.asarray(found["spectra"]["real"]["mean"])
        for group in ("real", "synthetic", "recalibrated_real", "recalibrated"):
            bands = found["spectra"][group]
            panel.fill_between(x, bands["p05"] - real, bands["p95"] - real, color=COLOURS[group], alpha=0.07, lw=0)
            dashed = "--" if group == "recalibrated_real" else "-"
            panel.plot(x, bands["mean"] - real, dashed, color=COLOURS[group], label=LABELS[group], lw=1.5)
        panel.set_xlabel("frequency (fraction of Nyquist)")
    panels[0].legend(fontsize=8)
    panels[0].set_ylabel("log10 power minus mean of real")
    save(figure, output / "evidence_spectra.svg")


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def cell_table(results: Results, titles: dict[str, str]) -> str:
    """AUC of the main arms in every cell, the differences that matter, and these pooled."""
    rows = []
    for cell in results.cells:
        values = [number(results.auc(cell, arm).per_seed.mean()) for arm in ("RAW", "GDA", "GDA+FreRec")]
        differences = [shown(results.difference([cell], *pair)) for pair in PAIRS]
        seeds = str(min(len(results.rows[cell][arm]) for arm in ("RAW", "GDA", "GDA+FreRec")))
        rows.append([told(cell, titles), f"{cell.rare_fraction:.0%}", *values, *differences, seeds])
    for name, cells in pools(results):
        rows.append([f"**{name}**", "", "", "", "", *(shown(results.difference(cells, *pair)) for pair in PAIRS), ""])
    head = ["set, generator, rare class", "share", "RAW", "GDA", "FreRec", *(f"{a} - {b}" for a, b in PAIRS), "seeds"]
    return markdown(head, rows)


def arm_table(results: Results) -> str:
    """Every arm, pooled over the cells that have it: all measures, and the difference to RAW and GDA."""
    rows = []
    for kind in dict.fromkeys(cell.kind for cell in results.cells):
        cells = [cell for cell in results.cells if cell.kind == kind]
        for arm in dict.fromkeys(arm for cell in cells for arm in results.rows[cell]):
            own = [cell for cell in cells if arm in results.rows[cell]]
            means = [number(float(np.mean([results.mean(cell, arm, m) for cell in own]))) for m in MEASURES]
            differences = ["" if arm == r else shown(results.difference(own, arm, r)) for r in ("RAW", "GDA")]
            rows.append([f"{arm}, {kind}", *means, *differences, str(len(own))])
    return markdown(["arm", *MEASURES, "AUC - RAW", "AUC - GDA", "cells"], rows)


def setting_table(results: Results) -> str:
    """Fixed and recommended settings against RAW, pooled over the same cells, and the recommended against the best."""
    settings: dict[str, list[Cell]] = {}
    for cell in results.rows:
        if cell.setting and cell._replace(setting="") in results.cells:
            settings.setdefault(cell.setting, []).append(cell)
    every = [{cell._replace(setting="") for cell in cells} for cells in settings.values()]
    common = sorted(set.intersection(*every)) if every else []
    if not common:
        return "none\n"
    gains = {}
    for name in settings:
        arms = {cell: next(iter(results.rows[cell._replace(setting=name)])) for cell in common}
        gains[name] = [results.auc(c._replace(setting=name), arm) - results.auc(c, "RAW") for c, arm in arms.items()]
    best = max(gains.keys() - {"tuned"}, key=lambda name: average(gains[name]).per_seed.mean(), default="tuned")
    if "tuned" in gains and best != "tuned":
        pairs = zip(gains["tuned"], gains[best], strict=True)
        gains[f"tuned, minus {best}"] = [tuned - fixed for tuned, fixed in pairs]
    rows = [
        [name, shown(average(parts).estimate()), number(min(float(p.per_seed.mean()) for p in parts), "+")]
        for name, parts in gains.items()
    ]
    return markdown(["setting", f"AUC - RAW, pooled over {len(common)} cells", "worst cell"], rows)


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evidence", type=Path, default=Path("evidence"), help="output of scripts/evidence.py")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "figures")
    parser.add_argument("--plan", type=Path, default=ROOT / "scripts" / "evidence.json", help="has the sets' titles")
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap resamples")
    args = parser.parse_args()
    titles = {name: s.get("title", name) for name, s in json.loads(args.plan.read_text())["sets"].items()}
    args.output.mkdir(parents=True, exist_ok=True)
    results = Results(args.evidence, args.draws)
    if not results.cells:
        parser.error(f"{args.evidence / 'runs'}: no cell has finished runs of RAW, GDA and GDA+FreRec yet")
    with mpl.rc_context(STYLE):
        forest(results, titles, args.output)
        spectra(results, titles, args.output)
        correlations = harm(results, args.output)
    tables = {
        "Every cell": cell_table(results, titles), "Every arm": arm_table(results),
        "Settings": setting_table(results),
        "What foretells the harm": markdown(["measure", "cells", "rank correlation", "p"], correlations),
    }  # fmt: skip
    samples = "seeds only, the files of the runs are not there" if results.seeds_only else "test patients and seeds"
    text = f"Intervals (95 %) take as samples: {samples}.\n\n"
    text += "\n".join(f"## {name}\n\n{table}" for name, table in tables.items())
    (args.evidence / "tables.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
