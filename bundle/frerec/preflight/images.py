"""One image of each input folder is looked at: does it have the channels and dimensions of the settings?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frerec.errors import ConfigError, FreRecError, InputError
from frerec.imaging.loader import read_image
from frerec.preflight.paths import INPUT_FOLDERS, first_image


def check_images(values: Mapping[str, Any]) -> list[FreRecError]:
    """Compare the first image of each input folder with the settings.

    Args:
        values: settings by config id; input folders, ``channels`` and ``spatial_dims`` matter.

    Returns:
        One error per problem. An image that turns out to be broken is no problem here: the run reports it.
    """
    problems: list[FreRecError] = []
    channels, dims = values.get("channels"), values.get("spatial_dims")
    if channels is None or values.get("datalist"):
        return problems
    for key in (key for key in INPUT_FOLDERS if values.get(key)):
        path = Path(first_image(key, values[key]).files[0])
        try:
            # gray saved as three equal channels can be read as one, so it is asked for as the run will ask for it
            shape = read_image(path, channels).array.shape
        except InputError:
            try:
                found = read_image(path).array.shape[0]
            except InputError:
                continue
            told = "channel" if found == 1 else "channels"
            remedy = f"Set --channels {found} together with weights and a bank for such images"
            problems.append(ConfigError("channels", channels, f"{path} in {key} has {found} {told}", remedy))
            continue
        if dims == 3 and len(shape) == 3 and path.suffix.lower() not in ("", ".dcm", ".ima", ".dicom"):
            remedy = "Use --spatial_dims 2 for single images"
            problems.append(ConfigError("spatial_dims", dims, f"{path} in {key} is no volume", remedy))
    return problems
