"""A few images of each input folder are looked at: does one have the channels and dimensions of the settings?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from frerec.errors import ConfigError, FreRecError
from frerec.files import absolute
from frerec.io.listing import look
from frerec.io.loader import read_image
from frerec.run.preflight.paths import INPUT_FOLDERS, first_image, image_files, is_image

#: Images of a folder that are looked at before it is said that none fits.
_SAMPLE = 12


def check_images(values: Mapping[str, Any]) -> list[FreRecError]:
    """Compare images of each input folder with the settings.

    Args:
        values: settings by config id; input folders, ``channels`` and ``spatial_dims`` matter, and whether anything
            looks at the channels: with ``strength`` 0 and without network nothing does.

    Returns:
        One error for each folder of which none of a sample fits. An image that turns out to be broken is no problem
        here, nor is one that differs from the others: the run reports it.
    """
    problems: list[FreRecError] = []
    channels, dims = values.get("channels"), values.get("spatial_dims")
    untouched = values.get("use_network") is False and values.get("strength") == 0
    if channels is None or untouched or values.get("datalist"):
        return problems
    for key in (key for key in INPUT_FOLDERS if values.get(key)):
        first = first_image(key, values[key])
        found = [_misfit(first, channels, dims)]
        if found == [None]:
            continue
        # only now is the folder listed; the sample is spread over it, since what differs often lies together
        files = list(image_files(values[key]))
        for file in islice((f for f in files[:: max(1, len(files) // _SAMPLE)] if f != first and is_image(f)), _SAMPLE):
            found.append(_misfit(file, channels, dims))
            if found[-1] is None:
                break
        known = Counter(misfit for misfit in found if misfit)
        if None in found or not known:
            continue
        problem, example = known.most_common(1)[0][0], first
        count = sum(known.values())
        told = f"none of the {count} images of {key} that were looked at fits" if count > 1 else f"{example} in {key}"
        problems.append(ConfigError(problem[0], values[problem[0]], f"{told}: {problem[1]}", problem[2]))
    return problems


def _misfit(path: Path, channels: int, dims: int | None) -> tuple[str, str, str] | None:
    """Config id, what is wrong and remedy for an image that does not fit; None if it does; empty for a broken one."""
    try:
        # gray saved as three equal channels can be read as one, so it is asked for as the run will ask for it
        file = look(absolute(path), whole=True).file or path
        shape = read_image(file, channels).array.shape
    except Exception:
        try:
            found = read_image(file).array.shape[0]
        except Exception:
            return ()  # type: ignore[return-value]
        told = "channel" if found == 1 else "channels"
        remedy = f"Set --channels {found} together with weights and a bank for such images"
        return ("channels", f"it has {found} {told}", remedy) if found != channels else None
    if dims == 3 and len(shape) == 3 and path.suffix.lower() not in ("", ".dcm", ".ima", ".dicom"):
        return "spatial_dims", "it is no volume", "Use --spatial_dims 2 for single images"
    return None
