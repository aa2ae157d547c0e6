"""One image of each input folder is looked at: does it have the channels and dimensions of the settings?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frerec.errors import FreRecError
from frerec.shr.bank import ReferenceBank


def check_images(values: Mapping[str, Any], bank: ReferenceBank | None) -> list[FreRecError]:
    """Compare the first image of each input folder with the settings.

    Args:
        values: settings by config id.
        bank: the opened reference bank, or None.

    Returns:
        One error per problem. An image that turns out to be broken is no problem here; a run reports it.
    """
    problems: list[FreRecError] = []
    return problems
