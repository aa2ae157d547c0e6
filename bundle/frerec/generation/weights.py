"""Weights of a trained generator, of whatever kind."""

from __future__ import annotations

from os import PathLike

import torch
from torch import nn

from frerec.errors import InputError
from frerec.files import atomic_write


def load_generator_weights(generator: nn.Module, path: str | PathLike[str]) -> nn.Module:
    """Load a generator's weights without running any code from the file.

    Args:
        generator: the module to fill.
        path: a state dict saved by ``torch.save``.

    Returns:
        The generator, in evaluation mode.

    Raises:
        InputError: the file is missing, damaged, or belongs to a generator of another shape.
    """
    try:
        generator.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError as error:
        raise InputError(
            path, "no such weights", "Train a generator with configs/train_generator.json or train_diffusion.json"
        ) from error
    except Exception as error:
        first = str(error).splitlines()[0]
        raise InputError(
            path,
            f"not weights of this generator ({first})",
            "Check the path, generator_type, image_size, channels and class_names",
        ) from error
    return generator.eval()


def save_generator_weights(generator: nn.Module, path: str | PathLike[str]) -> None:
    """Save a generator's weights in half precision, as :func:`load_generator_weights` reads them.

    Args:
        generator: a trained generator.
        path: the file; it appears whole or not at all.
    """
    state = generator.state_dict()
    with atomic_write(path) as stream:
        torch.save({key: value.half() if value.is_floating_point() else value for key, value in state.items()}, stream)
