"""Recalibration inside the study, by the same call as everywhere: :class:`frerec.recalibrate.Recalibrate`."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor

from frerec.errors import FreRecError
from frerec.io.records import source_of
from frerec.recalibrate import Recalibrate
from frerec.study.cache import fingerprint

STAGES = ("shr", "rhm", "frerec")


class Stage:
    """One stage, or both, as a transform of an arm.

    Args:
        method: the whole method.
        name: ``shr`` (replacement alone), ``rhm`` (network alone) or ``frerec`` (both, and the profile imposed).
    """

    def __init__(self, method: Recalibrate, name: str) -> None:
        if name not in STAGES:
            raise ValueError(f"name={name!r}: use one of {', '.join(STAGES)}")
        self.method, self.name = method, name

    @property
    def fingerprint(self) -> str:
        """Digest of the steps and weights; the device does not count."""
        method = self.method
        steps = {
            "shr": [method.replace],
            "rhm": [method.network],
            "frerec": [method.replace, method.network, method.impose],
        }
        return fingerprint([self.name, steps[self.name]])

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Recalibrate ``data["image"]`` (C, *spatial) in [0, 1]; the result is ``pred``."""
        image, method = MetaTensor(data["image"]), self.method
        if self.name == "shr":
            return {**data, "pred": method.replace(image)}
        if self.name == "frerec":
            # an image that came from no file will not be rounded to what a file holds
            known = source_of(image) is not None
            return {**data, "pred": method.normalized(image) if known else method.normalized(image, (0.0, 1.0), 0.0)}
        if method.network is None:
            raise FreRecError("there is no network to run alone. Give weights_path")
        with torch.inference_mode():
            out = method.inferer(image.as_tensor().float()[None].to(method.device), method.network)
        return {**data, "pred": out[0].float().cpu()}


class Recalibration:
    """The stages of one recalibration; bank and network are opened when an arm first needs them.

    Args:
        settings: of :meth:`frerec.recalibrate.Recalibrate.from_bundle`.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.mask_ratio = float(settings["mask_ratio"])
        self._method: Recalibrate | None = None

    def stage(self, name: str) -> Stage:
        """The transform of a stage, see :class:`Stage`."""
        if self._method is None:
            self._method = Recalibrate.from_bundle(**self.settings)
        return Stage(self._method, name)
