"""The networks of the second stage by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from frerec.errors import ConfigError
from frerec.rhm.flow import RestorationFlow
from frerec.rhm.network import FreRecNet
from frerec.rhm.presets import PRESETS

NETWORKS = ("compact", *PRESETS)


def restoration_network(
    preset: str = "compact",
    spatial_dims: int = 2,
    channels: int = 1,
    mask_ratio: float = 0.1,
    transition: float = 0.3,
    strength: float = 1.0,
    profile: torch.Tensor | None = None,
    **options: Any,
) -> nn.Module:
    """Make a network of the second stage.

    Args:
        preset: ``compact`` for :class:`frerec.rhm.flow.RestorationFlow`, ``paper`` or ``small`` for
            :class:`frerec.rhm.network.FreRecNet` in the paper's size or in one for CPUs.
        spatial_dims: 2 or 3.
        channels: of the images.
        mask_ratio: of stage 1; for the flow, as what follows.
        transition: of stage 1.
        strength: of stage 1.
        profile: of real images; None where weights are loaded.
        options: further arguments of the class.

    Returns:
        A module from (B, C, *spatial) to the same.

    Raises:
        ConfigError: an unknown preset, or an argument that no network can be built from.
    """
    if preset not in NETWORKS:
        raise ConfigError("preset", preset, "unknown preset", f"Use one of {', '.join(NETWORKS)}")
    if preset != "compact":
        return FreRecNet(spatial_dims, channels, channels, preset, **options)
    return RestorationFlow(spatial_dims, channels, channels, profile, mask_ratio, transition, strength, **options)
