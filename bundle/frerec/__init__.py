"""FreRec: frequency recalibration of generated medical images, as MONAI components."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from frerec.ranks import rank, world_size
from frerec.root import bundle_root

if TYPE_CHECKING:
    from frerec.audit.detector import detect
    from frerec.io.images import load_image, save_image
    from frerec.recalibrate import Recalibrate
    from frerec.rhm.flow import RestorationFlow
    from frerec.rhm.network import FreRecNet
    from frerec.shr.bank.reference import ReferenceBank

__all__ = [
    "FreRecNet",
    "Recalibrate",
    "ReferenceBank",
    "RestorationFlow",
    "__version__",
    "bundle_root",
    "detect",
    "load_image",
    "rank",
    "save_image",
    "world_size",
]

__version__ = "0.2.0"

# Found when they are asked for: they need torch and MONAI, whose import takes seconds.
_ELSEWHERE = {
    "FreRecNet": "frerec.rhm.network",
    "Recalibrate": "frerec.recalibrate",
    "ReferenceBank": "frerec.shr.bank.reference",
    "RestorationFlow": "frerec.rhm.flow",
    "detect": "frerec.audit.detector",
    "load_image": "frerec.io.images",
    "save_image": "frerec.io.images",
}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE[name]), name)
