"""The network's named sizes, and the check of a size a user composed."""

from __future__ import annotations

from typing import Any

from frerec.errors import ConfigError

# The paper fixes blocks and refinement; width and heads are Restormer's usual ones. "small" is ours: it folds
# 2 x 2 pixels into channels first, so that its costliest level has a quarter of the positions. (Folding 4 x 4 is
# faster still, but such a network does not find the first step: after 2400 it still returned its input.)
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "num_blocks": (2, 4, 6, 8), "num_refinement_blocks": 2, "width": 48, "heads": (1, 2, 4, 8),
        "stem_stride": 1, "wide_decoder": True, "ffn_expansion": 2.66,
    },
    "small": {
        "num_blocks": (1, 1, 2), "num_refinement_blocks": 1, "width": 32, "heads": (1, 2, 4),
        "stem_stride": 2, "wide_decoder": False, "ffn_expansion": 2.66,
    },
}  # fmt: skip


def check_architecture(spatial_dims: int, s: dict[str, Any]) -> None:
    """Refuse what no network can be built from; ``s`` holds every argument by name."""
    counts = ("in_channels", "out_channels", "width", "stem_stride", "ring_reach")
    positive = {name: s[name] for name in counts}
    positive |= {f"num_blocks[{n}]": blocks for n, blocks in enumerate(s["num_blocks"])}
    positive |= {f"heads[{n}]": heads for n, heads in enumerate(s["heads"])}
    for name, value in positive.items():
        if not isinstance(value, int) or value < 1:
            raise ConfigError(name, value, "not a whole number from 1 on", "Use 1 or more")
    if spatial_dims not in (2, 3):
        raise ConfigError("spatial_dims", spatial_dims, "images have 2 or 3 spatial dimensions", "Use 2 or 3")
    if s["n_rings"] < 2:
        raise ConfigError("n_rings", s["n_rings"], "FESA needs rings to compare", "Use 2 or more")
    if len(s["num_blocks"]) < 2:
        raise ConfigError("num_blocks", s["num_blocks"], "a U has two levels at least", "Use a list like [1, 1, 2]")
    if len(s["heads"]) != len(s["num_blocks"]):
        reason = f"{len(s['num_blocks'])} levels need as many numbers of heads"
        raise ConfigError("heads", s["heads"], reason, "Give one number for each level")
    for n, heads in enumerate(s["heads"]):
        channels, folds = s["width"] * 2**n, 2 ** (spatial_dims - 1)
        if channels % heads or channels % folds:
            reason = f"level {n} has {channels} channels, which do not divide by {heads} heads and by {folds}"
            raise ConfigError("width", s["width"], reason, "Choose another width or other heads")
