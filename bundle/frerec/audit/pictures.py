"""Chooses and prepares the example pictures of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from frerec.audit.collector import GroupCollector
from frerec.audit.dataset import UNREADABLE, AuditDataset, central_slice
from frerec.audit.figures import COLOURS, pairs_figure, strip_figure
from frerec.spectrum.power import radial_power

#: Rings of the small spectra beside the pictures.
RINGS = 48


def _spectrum(image: torch.Tensor) -> np.ndarray:
    return radial_power(image, 2, RINGS).mean(0).numpy()


def example_strip(groups: Mapping[str, GroupCollector], mask_ratio: float) -> bytes | None:
    """The strip of kept examples: synthetic rows first, then real ones; None where there is none."""
    rows = []
    for source, derived, title in (("synthetic", "recalibrated", "synthetic"), ("real", "recalibrated_real", "real")):
        for name in sorted(groups[source].examples):
            image = groups[source].examples[name]
            row: dict[str, Any] = {"title": title, "input": image, "spectra": {}}
            row["spectra"]["input"] = (COLOURS[source], _spectrum(image))
            if source == "synthetic" and name in groups["shr"].examples:
                row["shr"] = groups["shr"].examples[name]
            if name in groups[derived].examples:
                row["frerec"] = groups[derived].examples[name]
                row["spectra"]["FreRec"] = (COLOURS[derived], _spectrum(row["frerec"]))
            rows.append(row)
    return strip_figure(rows, mask_ratio) if rows else None


def closest_pairs(copies: Mapping[str, Any], dataset: AuditDataset, count: int = 4) -> bytes | None:
    """The outputs most like a training image, above that image; None where no check was made."""
    group = copies.get("recalibrated") or copies.get("synthetic")
    if not group:
        return None
    pairs = []
    for pair in group["closest"][:count]:
        try:
            output, reference = (dataset.load(pair[key])[0] for key in ("image", "nearest"))
        except UNREADABLE:
            continue  # it was readable a moment ago; the numbers stand without the picture
        title = f"{pair['correlation']:.3f}" + (" suspect" if pair["suspect"] else "")
        dims = dataset.spatial_dims
        pairs.append((central_slice(output, dims), central_slice(reference, dims), title))
    return pairs_figure(pairs) if pairs else None
