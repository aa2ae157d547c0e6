"""Arms of the downstream study: what each does to the synthetic and to the real images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from monai.data import MetaTensor

from frerec.errors import ConfigError
from frerec.study.cache import Transform, fingerprint


@runtime_checkable
class NeedsReferences(Protocol):
    """A transform that works against real training images; the study hands them over before anything else."""

    def set_references(self, references: Any) -> None:
        """Take the :class:`frerec.study.baselines.References` of the study."""


@dataclass(frozen=True)
class Arm:
    """One arm.

    A transform gets a dictionary with ``image`` (tensor (C, *spatial), float32, in [0, 1], with the loader's meta),
    ``label``, ``part`` (train, val, test or synthetic) and ``name`` (checksum of the file), and returns a tensor
    of that shape or a dictionary with it as ``pred`` or else ``image``. It must give the same result whenever it
    is called with the same image.

    Args:
        name: as it stands in tables and in the ``arms`` setting.
        uses_synthetic: whether synthetic images are added to the real training images.
        synthetic: transform of the synthetic images; None leaves them as they are.
        real: transform of all real images, in training, validation and test; None leaves them as they are.
        synthetic_dir: take the synthetic images from this folder instead, which mirrors the study's own (for
            recalibration done beforehand by the inference workflow).
        augment: classical augmentation of training batches: called with a float32 batch (N, C, *spatial) and a
            ``torch.Generator``, returns a batch.

    Raises:
        ConfigError: something is said of synthetic images in an arm that uses none.
    """

    name: str
    uses_synthetic: bool = True
    synthetic: Transform | None = None
    real: Transform | None = None
    synthetic_dir: str | None = None
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None

    def __post_init__(self) -> None:
        if not self.uses_synthetic and (self.synthetic or self.synthetic_dir):
            raise ConfigError(
                "arms", self.name, "treats synthetic images but uses none",
                "Set uses_synthetic to true, or leave synthetic and synthetic_dir out",
            )  # fmt: skip


def select_arms(arms: Sequence[Arm], names: Sequence[str] | None) -> list[Arm]:
    """Arms of the given names, in that order; all of them for None.

    Raises:
        ConfigError: a name is not among ``arms``, or one is given twice.
    """
    known = {arm.name: arm for arm in arms}
    if len(known) != len(arms):
        raise ConfigError("arms", [arm.name for arm in arms], "two arms have one name", "Give each its own")
    chosen = list(known) if names is None else list(names)
    for name in chosen:
        if name not in known or chosen.count(name) > 1:
            raise ConfigError(
                "arm_names", name, "named twice" if name in known else "no such arm", f"Choose from {', '.join(known)}"
            )
    return [known[name] for name in chosen]


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
        preprocessing: Transform | None = None,
        network: torch.nn.Module | None = None,
        inferer: Callable[..., torch.Tensor] | None = None,
        postprocessing: Transform | None = None,
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
