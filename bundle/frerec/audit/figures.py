"""The figures of the report, as SVG or PNG bytes; the same result gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure

from frerec.spectrum.power import ring_frequencies

COLOURS = {
    "real": "#333333",
    "synthetic": "#c8374a",
    "recalibrated": "#00708a",
    "recalibrated_real": "#d1901f",
}
LABELS = {
    "real": "real",
    "synthetic": "synthetic",
    "recalibrated": "recalibrated synthetic",
    "recalibrated_real": "recalibrated real",
}
COMPARISON_LABELS = {
    "before": "synthetic against real (before)",
    "after": "all: recalibrated synthetic against recalibrated real",
    "after_against_untouched_real": "synthetic only: recalibrated synthetic against untouched real",
    "change_of_real": "recalibrated real against real",
    "floor": "real against real (chance)",
}
COMPARISON_COLOURS = {
    "before": COLOURS["synthetic"],
    "after": COLOURS["recalibrated"],
    "after_against_untouched_real": "#6a5acd",
    "change_of_real": COLOURS["recalibrated_real"],
    "floor": "#888888",
}
DETECTOR_LABELS = {
    "radial_high": "radial, as the method sees it",
    "radial": "radial, plain",
    "radial_hann": "radial, Hann window",
    "cnn_high_pass": "CNN, high-passed",
    "cnn_pixels": "CNN, pixels",
}
_STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": "#333333",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "svg.hashsalt": "frerec",
}


def comparison_label(result: Mapping[str, Any], name: str) -> str:
    """What a comparison is called in tables."""
    between = result["comparisons"][name].get("between")
    return COMPARISON_LABELS[name] if between is None else f"{between} (chance)"


def _svg(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    return stream.getvalue()


def _mark_high_band(axes: Any, mask_ratio: float, end: float) -> None:
    axes.axvspan(mask_ratio, end, color="#eef3f6", zorder=0)
    axes.set_xlim(0, end)
    axes.set_xlabel("spatial frequency (fraction of Nyquist)")


def spectra_figure(result: Mapping[str, Any]) -> bytes:
    """Mean radial spectra with the range of the middle half and of nine tenths of the images, as SVG."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 4.4))
        axes = figure.subplots()
        for group, bands in result["spectra"].items():
            x = _frequencies(result, len(bands["mean"]))
            colour = COLOURS[group]
            axes.fill_between(x, bands["p05"], bands["p95"], color=colour, alpha=0.08, linewidth=0)
            axes.fill_between(x, bands["p25"], bands["p75"], color=colour, alpha=0.16, linewidth=0)
            axes.plot(x, bands["mean"], color=colour, label=LABELS[group], linewidth=1.6)
        _mark_high_band(axes, result["mask_ratio"], float(x[-1]))
        axes.set_ylabel("log10 power")
        axes.legend(loc="upper right", fontsize=10)
        return _svg(figure)


def _frequencies(result: Mapping[str, Any], n_rings: int) -> np.ndarray:
    return ring_frequencies(n_rings, result["spatial_dims"]).numpy()


def difference_figure(result: Mapping[str, Any]) -> bytes:
    """Difference of mean log10 power from the reference along the radius, before and after, as SVG."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 3.6))
        axes = figure.subplots()
        pairs = {"before": ("synthetic", "real"), "after": ("recalibrated", "recalibrated_real")}
        if "recalibrated_real" not in result["spectra"]:
            pairs = {"before": pairs["before"], "after_against_untouched_real": ("recalibrated", "real")}
        x = np.asarray(result["frequencies"])
        for name, (judged, reference) in pairs.items():
            if judged in result["spectra"] and reference in result["spectra"]:
                mean = np.subtract(result["spectra"][judged]["mean"], result["spectra"][reference]["mean"])
                axes.plot(x, mean, color=COMPARISON_COLOURS[name], label=name.split("_")[0], linewidth=1.8)
        axes.axhline(0, color="#333333", linewidth=0.8)
        _mark_high_band(axes, result["mask_ratio"], float(x[-1]))
        axes.set_ylabel("difference in log10 power")
        axes.legend(fontsize=10)
        return _svg(figure)


def detector_figure(result: Mapping[str, Any]) -> bytes | None:
    """AUC of every detector in every comparison with its interval, as SVG; None where none was run."""
    rows: list[tuple[str, list[tuple[str, Mapping[str, Any]]]]] = []
    for detector, label in DETECTOR_LABELS.items():
        found = [
            (name, comparison["detector"][detector])
            for name, comparison in result["comparisons"].items()
            if detector in comparison.get("detector", {})
        ]
        if found:
            rows.append((label, found))
    if not rows:
        return None
    with mpl.rc_context(_STYLE):
        lines = sum(len(found) for _, found in rows)
        figure = Figure(figsize=(5.6, 1.0 + 0.2 * lines + 0.38 * len(rows)))
        axes = figure.subplots()
        position = 0.0
        for label, found in rows:
            # the name of a detector stands above its lines: beside them it would take half a phone's width
            axes.text(0.01, position, label, transform=axes.get_yaxis_transform(), va="center", color="#333333")
            position += 1
            for name, auc in found:
                colour = COMPARISON_COLOURS[name]
                axes.plot([auc["low"], auc["high"]], [position] * 2, color=colour, linewidth=2.2)
                shown = COMPARISON_LABELS[name] if label == rows[0][0] else None
                axes.plot(auc["value"], position, "o", color=colour, markersize=6, label=shown)
                position += 1
            position += 0.5
        axes.axvline(0.5, color="#333333", linewidth=0.8, linestyle=":")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlim(min(0.2, *(auc["low"] for _, found in rows for _, auc in found)), 1.02)
        axes.invert_yaxis()
        axes.set_xlabel("AUC (0.5: cannot tell, 1: always tells)")
        figure.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize=10, bbox_transform=axes.transAxes)
        return _svg(figure)


def map_figure(result: Mapping[str, Any]) -> bytes | None:
    """Two-dimensional difference spectra before and after, on one colour scale, as PNG; None without images."""
    wanted = ("before", "after", "after_against_untouched_real")
    names = [name for name in wanted if "map" in result["comparisons"].get(name, {})][:2]
    if not names:
        return None
    maps = [result["comparisons"][name]["map"] for name in names]
    limit = max(float(np.quantile(np.abs(m["difference"].numpy()), 0.995)) for m in maps)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(2.75 * len(maps) + 0.5, 3.1), dpi=150, layout="constrained")
        all_axes = figure.subplots(1, len(maps), squeeze=False)[0]
        for axes, name, found in zip(all_axes, names, maps, strict=True):
            picture = axes.imshow(
                found["difference"].numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, extent=(-1, 1, 1, -1)
            )
            down, right = found["peak_frequency"]
            axes.plot([right, -right], [down, -down], "o", markersize=11, fillstyle="none", color="#111111")
            axes.set_xlim(-1.04, 1.04)
            axes.set_ylim(1.04, -1.04)
            axes.set_title(name.split("_")[0], fontsize=11)
            axes.set_xticks([-1, 0, 1])
            axes.set_yticks([-1, 0, 1])
            axes.spines[:].set_visible(False)
        figure.colorbar(picture, ax=list(all_axes), shrink=0.85, label="log10 power, minus reference")
        return _png(figure)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _picture(image: torch.Tensor) -> np.ndarray:
    pixels = image.clamp(0, 1).permute(1, 2, 0).numpy()
    return pixels[..., 0] if pixels.shape[-1] not in (3, 4) else pixels[..., :3]


def strip_figure(rows: Sequence[Mapping[str, Any]], mask_ratio: float) -> bytes:
    """Picture strip as PNG: input, after SHR where known, after FreRec, difference, radial spectra.

    Args:
        rows: dicts with ``title`` and the images ``input`` and, where known, ``shr``, ``frerec``, each (C, H, W) on a
            nominal [0, 1] range, and ``spectra``, a dict of label to (colour, log10 power (R,)).
        mask_ratio: where the high band begins.
    """
    has_shr = any("shr" in row for row in rows)
    columns = ["input", *(["shr"] if has_shr else []), "frerec", "difference", "spectra"]
    titles = {"input": "input", "shr": "after SHR", "frerec": "after FreRec", "difference": "difference", "spectra": ""}
    with mpl.rc_context({**_STYLE, "font.size": 9}):
        figure = Figure(figsize=(1.9 * len(columns) + 0.5, 1.95 * len(rows) + 0.2), dpi=150, layout="constrained")
        grid = figure.subplots(len(rows), len(columns), squeeze=False)
        for number, row in enumerate(rows):
            for axes, column in zip(grid[number], columns, strict=True):
                if column == "spectra":
                    _strip_spectra(axes, row["spectra"], mask_ratio)
                    continue
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
                if number == 0:
                    axes.set_title(titles[column], fontsize=10)
                if column == "input":
                    axes.set_ylabel(row["title"], fontsize=8, color="#555555")
                if column == "difference" and "frerec" in row:
                    change = (row["frerec"] - row["input"]).mean(0).numpy()
                    axes.imshow(change, cmap="RdBu_r", vmin=-0.05, vmax=0.05)
                elif column in row:
                    axes.imshow(_picture(row[column]), cmap="gray", vmin=0, vmax=1)
        return _png(figure)


def _strip_spectra(axes: Any, spectra: Mapping[str, tuple[str, np.ndarray]], mask_ratio: float) -> None:
    for label, (colour, power) in spectra.items():
        x = np.linspace(0, np.sqrt(2), 2 * len(power) + 1)[1::2]
        axes.plot(x, power, color=colour, linewidth=1, label=label)
    axes.axvline(mask_ratio, color="#999999", linewidth=0.6, linestyle=":")
    axes.tick_params(labelsize=7)
    axes.set_box_aspect(1)
    axes.legend(fontsize=6.5, loc="upper right", handlelength=1)


def pairs_figure(pairs: Sequence[tuple[torch.Tensor, torch.Tensor, str]]) -> bytes:
    """Outputs above the training images nearest to them, as PNG; each pair is (output, nearest, title)."""
    with mpl.rc_context({**_STYLE, "font.size": 9}):
        figure = Figure(figsize=(1.6 * len(pairs) + 0.3, 3.5), dpi=130, layout="constrained")
        grid = figure.subplots(2, len(pairs), squeeze=False)
        for column, (output, reference, title) in enumerate(pairs):
            for row, image in enumerate((output, reference)):
                axes = grid[row][column]
                axes.imshow(_picture(image), cmap="gray", vmin=0, vmax=1)
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
            grid[0][column].set_title(title, fontsize=9)
        grid[0][0].set_ylabel("output")
        grid[1][0].set_ylabel("nearest real")
        return _png(figure)
