"""The networks of the second stage by name."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from torch import nn

from frerec.errors import ConfigError, InputError
from frerec.rhm.flow import RestorationFlow
from frerec.rhm.network import FreRecNet
from frerec.rhm.presets import PRESETS

NETWORKS = ("compact", *PRESETS)


def restoration_network(
    preset: str = "compact",
    spatial_dims: int = 2,
    channels: int = 1,
    mask_ratio: float = 0.1,
    transition: float = 0.1,
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


def load_weights(network: nn.Module, path: str | PathLike[str]) -> nn.Module:
    """Load a network's weights without running any code from the file.

    Args:
        network: the module to fill.
        path: a state dict saved by ``torch.save``, or a checkpoint that holds one as ``model``.

    Returns:
        The network.

    Raises:
        InputError: the file is missing or damaged, or its weights are those of another network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state.get("model", state) if isinstance(state, Mapping) else state)
    except OSError as error:
        raise InputError(path, "the weights cannot be read", "Check the path") from error
    except Exception as error:
        reason = f"not weights of this network ({type(error).__name__})"
        raise InputError(path, reason, "Check the path, preset, channels and spatial_dims") from error
    return network
