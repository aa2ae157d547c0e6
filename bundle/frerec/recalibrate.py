"""The whole method on one image, for programs: what ``inference.json`` does to a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from frerec.errors import ConfigError, FreRecError, InputError
from frerec.io.intensity import NormalizeRange, RestoreRange
from frerec.io.records import applied_to, source_of
from frerec.rhm.inferer import RecalibrationInferer
from frerec.rhm.networks import restoration_network
from frerec.root import bundle_root
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.transforms import ImposeProfile, StatisticalHighFrequencyReplacement

Image = TypeVar("Image", np.ndarray, torch.Tensor)


class Recalibrate(Transform):
    """Recalibrate images: stage 1 replaces the high frequencies, stage 2 restores, and the drawn profile is imposed.

    The same image, seed and weights give the same output, alone or in a batch.

    Args:
        bank: the reference bank of real images.
        network: stage 2, (B, C, *spatial) to the same; None for stage 1 alone.
        intensity_range: as in :class:`frerec.io.intensity.NormalizeRange`, for images that `frerec.load_image` gave.
        impose_profile: whether the profile that stage 1 drew is imposed on the result.
        device: where the network runs.
        amp: let the network compute in bfloat16 where the processor can.
        settings: further arguments of
            :class:`frerec.shr.transforms.StatisticalHighFrequencyReplacement`, such as ``strength``.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        bank: ReferenceBank | str | os.PathLike[str],
        network: torch.nn.Module | None,
        intensity_range: str = "auto",
        impose_profile: bool = True,
        device: torch.device | str = "cpu",
        amp: bool = True,
        **settings: Any,
    ) -> None:
        self.replace = StatisticalHighFrequencyReplacement(bank, **settings)
        info = self.replace.bank.info
        self.channels, self.dims = info.channels, info.spatial_dims
        self.impose = ImposeProfile(self.replace.mask_ratio, self.replace.bands, self.dims) if impose_profile else None
        self.network = None if network is None else network.to(device).eval()
        self.inferer = RecalibrationInferer(self.dims, amp=amp)
        self.normalize, self.restore = NormalizeRange(intensity_range), RestoreRange()
        self.device = torch.device(device)

    @classmethod
    def from_bundle(
        cls,
        strength: float = 1.0,
        weights_path: str | os.PathLike[str] | None = None,
        bank_path: str | os.PathLike[str] | None = None,
        preset: str = "compact",
        use_network: bool = True,
        **settings: Any,
    ) -> Recalibrate:
        """Use weights and bank of the bundle, or others of the same kind.

        Args:
            strength: share of noise that stage 1 mixes in, 0 to 1.
            weights_path: state dict of the network; None for the bundle's, of chest X-rays.
            bank_path: reference bank; None for the bundle's.
            preset: as in :func:`frerec.rhm.networks.restoration_network`.
            use_network: false leaves stage 1 alone; no weights are read.
            settings: as in the class.

        Raises:
            ConfigError: a value out of range, or weights that do not fit the preset.
            InputError: a file that is not there or not what it should be.
        """
        models = Path(bundle_root()) / "models"
        bank = ReferenceBank.open(bank_path or models / "bank.safetensors")
        if not use_network:
            return cls(bank, None, strength=strength, **settings)
        path = Path(weights_path or models / "model.pt")
        known = {key: settings[key] for key in ("mask_ratio", "transition") if key in settings}
        network = restoration_network(preset, bank.info.spatial_dims, bank.info.channels, strength=strength, **known)
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            network.load_state_dict(state.get("model", state))
        except OSError as error:
            raise InputError(path, "the weights cannot be read", "Check weights_path") from error
        except (RuntimeError, AttributeError) as error:
            reason = f"these weights are not of a network of preset {preset} for {bank.info.channels} channels"
            raise ConfigError("weights_path", str(path), reason, "Use weights, bank and preset that fit") from error
        return cls(bank, network, strength=strength, **settings)

    def __call__(self, image: Image | Sequence[Image]) -> Any:
        """Recalibrate an image, a volume, or a batch.

        Args:
            image: one of

                - what `frerec.load_image` gave, (C, H, W) or (C, H, W, D) in physical units: `frerec.save_image` writes
                  the result as the file was;
                - an array or tensor (H, W), (C, H, W) or, with as many channels as the bank in front, a volume
                  (C, H, W, D); or a batch (B, C, H, W). Values: 0 to 255 for uint8, 0 to 1 for floating point;
                - a list of any of these.

        Returns:
            The same kind, shape and dtype; a list for a list.

        Raises:
            FreRecError: the shape does not fit the bank, or values are not finite or out of the range above.
        """
        if isinstance(image, (list, tuple)):
            return [self(one) for one in image]
        if isinstance(image, MetaTensor) and source_of(image) is not None:
            # the result carries the records of every step, for whoever saves it
            return self.restore(self.normalized(self.normalize(image)))
        array = torch.as_tensor(np.asarray(image) if not isinstance(image, torch.Tensor) else image)
        if array.dtype != torch.uint8 and not array.dtype.is_floating_point:
            raise FreRecError(
                f"values of type {array.dtype} have no range of their own. Divide them by the largest possible one, or "
                "read the file with frerec.load_image"
            )
        plain = (array.as_tensor() if isinstance(array, MetaTensor) else array).detach().cpu()
        x = plain.float() / 255 if plain.dtype == torch.uint8 else plain.float()
        if float(x.min()) < 0 or float(x.max()) > 1:
            raise FreRecError(f"values from {float(x.min()):g} to {float(x.max()):g}. Bring them to 0 to 1 first")
        step = 1 / 255 if plain.dtype == torch.uint8 else 0.0
        out = self._shaped(x, step)
        if plain.dtype == torch.uint8:
            out = (out * 255).round()
        result = out.to(plain.dtype).to(array.device)
        return result if isinstance(image, torch.Tensor) else result.numpy()

    def _shaped(self, x: torch.Tensor, step: float) -> torch.Tensor:
        if x.ndim == self.dims:
            return self._plain(x[None], step)[0]
        if x.ndim == 4 and self.dims == 2 and x.shape[0] == self.channels != x.shape[1]:
            return self._plain(x, step)
        if x.ndim == self.dims + 2 and x.shape[1] == self.channels:
            return torch.stack([self._plain(one, step) for one in x])
        if x.ndim != self.dims + 1 or x.shape[0] != self.channels:
            raise FreRecError(
                f"an image of shape {tuple(x.shape)} does not fit a bank of {self.channels} channels in {self.dims} "
                "dimensions. Put the channels first"
            )
        return self._plain(x, step)

    def _plain(self, x: torch.Tensor, step: float) -> torch.Tensor:
        return self.normalized(MetaTensor(x), (0.0, 1.0), step).as_tensor().clamp(0, 1)

    def normalized(
        self, image: MetaTensor, limits: tuple[float, float] | None = None, step: float | None = None
    ) -> MetaTensor:
        """The three steps on an image in nominal range [0, 1].

        Args:
            image: (C, *spatial).
            limits: smallest and largest value that will be stored; None for what the image's record says.
            step: between values that will be stored; None likewise.

        Returns:
            float32 (C, *spatial) with the records of ``image``, not clipped.
        """
        replaced = self.replace(image)
        drawn, plain = applied_to(replaced), torch.as_tensor(replaced)
        out = plain.as_tensor() if isinstance(plain, MetaTensor) else plain
        if self.network is not None:
            with torch.inference_mode():
                out = self.inferer(out[None].to(self.device), self.network)[0].float().cpu()
        if self.impose is not None:
            stored = drawn.storable if limits is None else limits
            out = self.impose(out, drawn.profile, drawn.spacing, stored, drawn.step if step is None else step)
        return MetaTensor(out.clone(), meta=dict(getattr(replaced, "meta", {})))
