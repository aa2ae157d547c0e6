"""Recalibration inside the study: the steps of the inference workflow, made where an arm needs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform

from frerec.rhm.inferer import RecalibrationInferer
from frerec.rhm.networks import restoration_network
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.transforms import ImposeProfiled, StatisticalHighFrequencyReplacementd
from frerec.study.cache import fingerprint


class Recalibrate:
    """The inference workflow's steps as one transform of an arm: preprocessing, network, postprocessing.

    Args:
        preprocessing: dictionary transform of ``image``, for example the statistical high-frequency replacement.
        network: maps (1, C, *spatial) to the same; None to stop after preprocessing.
        inferer: MONAI inferer ``inferer(inputs, network)``; None calls the network.
        postprocessing: dictionary transform that finds the network's output under ``pred``.
        device: where the network runs.
    """

    def __init__(
        self,
        preprocessing: Callable[..., Any] | None = None,
        network: torch.nn.Module | None = None,
        inferer: Callable[..., torch.Tensor] | None = None,
        postprocessing: Callable[..., Any] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.preprocessing, self.inferer, self.postprocessing = preprocessing, inferer, postprocessing
        self.network = network.to(device).eval() if network is not None else None
        self._device = torch.device(device)

    @property
    def fingerprint(self) -> str:
        """Digest of the steps and weights; the device does not count."""
        return fingerprint([self.preprocessing, self.network, self.inferer, self.postprocessing])

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Recalibrate ``data["image"]`` (C, *spatial); the result is ``pred``."""
        data = dict(self.preprocessing(dict(data))) if self.preprocessing else dict(data)
        image = data["image"]
        plain = image.as_tensor() if isinstance(image, MetaTensor) else torch.as_tensor(image)
        if self.network is not None:
            with torch.inference_mode():
                batch = plain.float()[None].to(self._device)
                out = self.inferer(batch, self.network) if self.inferer else self.network(batch)
            plain = torch.as_tensor(out)[0].float().cpu()
        data["pred"] = MetaTensor(plain, meta=image.meta) if isinstance(image, MetaTensor) else plain
        return dict(self.postprocessing(data)) if self.postprocessing else data


@dataclass
class Recalibration:
    """Settings of recalibration, and its stages as transforms; bank and network are opened when first needed.

    Args:
        bank_path: reference bank.
        weights_path: weights of the network.
        strength: as the config ids of inference.json of these names, and all that follow.
        mask_ratio: see ``strength``.
        transition: see ``strength``.
        max_gain: see ``strength``.
        top_k: see ``strength``.
        bands: see ``strength``.
        mode: see ``strength``.
        method: see ``strength``.
        impose_profile: see ``strength``.
        preset: see ``strength``.
        spatial_dims: see ``strength``.
        channels: see ``strength``.
        seed: see ``strength``.
        device: where the network runs.
    """

    bank_path: str
    weights_path: str
    strength: float
    mask_ratio: float
    transition: float
    max_gain: float
    top_k: int
    bands: int | None
    mode: str
    method: str
    impose_profile: bool
    preset: str
    spatial_dims: int = 2
    channels: int = 1
    seed: int = 0
    device: torch.device | str = "cpu"
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    def stage(self, name: str) -> Recalibrate:
        """``shr`` (replacement alone), ``rhm`` (network alone) or ``frerec`` (both, and the profile imposed)."""
        if name not in self._made:
            self._made[name] = Recalibrate(
                self._replacement() if name != "rhm" else None,
                self._network() if name != "shr" else None,
                RecalibrationInferer(self.spatial_dims, amp=True) if name != "shr" else None,
                self._imposing() if name == "frerec" and self.impose_profile else None,
                self.device,
            )
        return self._made[name]

    def _replacement(self) -> MapTransform:
        return StatisticalHighFrequencyReplacementd(
            keys="image", bank=ReferenceBank.open(self.bank_path), mask_ratio=self.mask_ratio, top_k=self.top_k,
            bands=self.bands, strength=self.strength, mode=self.mode, method=self.method, seed=self.seed,
            transition=self.transition, max_gain=self.max_gain,
        )  # fmt: skip

    def _imposing(self) -> MapTransform:
        return ImposeProfiled(
            keys="pred", reference_key="image", mask_ratio=self.mask_ratio, bands=self.bands,
            spatial_dims=self.spatial_dims,
        )  # fmt: skip

    def _network(self) -> torch.nn.Module:
        network = restoration_network(
            self.preset, self.spatial_dims, self.channels, self.mask_ratio, self.transition, self.strength
        )
        state = torch.load(self.weights_path, map_location="cpu", weights_only=True)
        network.load_state_dict(state.get("model", state))
        return network
