"""Arms of the downstream study: what each does to the synthetic and to the real images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

from frerec.errors import ConfigError
from frerec.study.baselines import ClassicalAugmentation, MatchHistogram, MixAmplitude
from frerec.study.cache import Transform
from frerec.study.recalibration import Recalibration


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
        balanced: draw images of every class equally often in training.
        fill_classes: ``rare`` or ``all``, instead of the study's own.
        uses_all_real: no real image is taken away from the rare class.

    Raises:
        ConfigError: something is said of synthetic images in an arm that uses none.
    """

    name: str
    uses_synthetic: bool = True
    synthetic: Transform | None = None
    real: Transform | None = None
    synthetic_dir: str | None = None
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None
    balanced: bool = False
    fill_classes: str | None = None
    uses_all_real: bool = False

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


def make_arms(
    names: Sequence[str],
    recalibration: Recalibration,
    synthetic_shr_dir: str | None = None,
    synthetic_rhm_dir: str | None = None,
    synthetic_frerec_dir: str | None = None,
) -> list[Arm]:
    """The arms that study.json knows by name.

    Args:
        names: as in docs/reference/config_ids.md.
        recalibration: how images are recalibrated.
        synthetic_shr_dir: the synthetic images after stage 1, made beforehand; None makes them.
        synthetic_rhm_dir: after the network alone.
        synthetic_frerec_dir: after both.

    Raises:
        ConfigError: no such arm.
    """
    made = {"shr": synthetic_shr_dir, "rhm": synthetic_rhm_dir, "frerec": synthetic_frerec_dir}

    def through(stage: str) -> dict[str, Any]:
        folder = made[stage]
        return {"synthetic_dir": folder} if folder else {"synthetic": recalibration.stage(stage)}

    def all_images() -> dict[str, Any]:
        return {"synthetic": recalibration.stage("frerec"), "real": recalibration.stage("frerec")}

    def high() -> dict[str, Any]:
        return {"synthetic": MixAmplitude("high", recalibration.mask_ratio)}

    settings: dict[str, Callable[[], dict[str, Any]]] = {
        "RAW": dict,
        "RAW balanced": lambda: {"balanced": True},
        "RAW+AUG": lambda: {"augment": ClassicalAugmentation()},
        "RAW+FreRec": lambda: {"real": recalibration.stage("frerec")},
        "GDA": dict,
        "GDA all classes": lambda: {"fill_classes": "all"},
        "GDA+HIST": lambda: {"synthetic": MatchHistogram("random")},
        "GDA+HIST nearest": lambda: {"synthetic": MatchHistogram("nearest")},
        "GDA+FDA low": lambda: {"synthetic": MixAmplitude("low", 0.05)},
        "GDA+FDA high": high,
        "GDA+SHR": lambda: through("shr"),
        "GDA+RHM": lambda: through("rhm"),
        "GDA+FreRec": lambda: through("frerec"),
        "GDA+FreRec all": all_images,
        "FULL": lambda: {"uses_all_real": True},
    }
    unknown = [name for name in names if name not in settings]
    if unknown:
        raise ConfigError("arm_names", unknown[0], "no such arm", f"Choose from {', '.join(settings)}")
    return [Arm(name, uses_synthetic=name.startswith("GDA"), **settings[name]()) for name in names]
