"""What can be done with generated images: each way as an arm of the study and as overrides for ``inference.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from frerec.errors import ConfigError
from frerec.root import bundle_root
from frerec.study.arms import Arm
from frerec.study.recalibration import Recalibration

#: Stages that a candidate may go through, each with whether the network is used.
STAGES = {"shr": False, "both": True}
#: Whose images are recalibrated.
IMAGES = ("synthetic", "all")


@dataclass(frozen=True)
class Candidate:
    """One way to use the images.

    Args:
        name: of its arm; ``RAW`` and ``GDA`` as in the study.
        adds: whether the synthetic images are added to the real ones.
        stage: ``shr`` or ``both``; empty leaves the images as they are.
        strength: of stage 1.
        mask_ratio: of stage 1.
        transition: of stage 1.
        all_images: recalibrate the real images too, in training and in use.
    """

    name: str
    adds: bool = True
    stage: str = ""
    strength: float = 0.0
    mask_ratio: float = 0.1
    transition: float = 0.1
    all_images: bool = False

    @property
    def effort(self) -> int:
        """How much the user has to do; of equally good ways the one of least effort is recommended."""
        return self.adds + (1 + STAGES[self.stage] if self.stage else 0) + 2 * self.all_images

    @property
    def everything(self) -> Candidate:
        """The same for all images."""
        return replace(self, name=f"{self.name} all", all_images=True)

    def overrides(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """What ``inference.json`` has to be told, by its own ids.

        Args:
            shared: settings that all candidates have in common; paths of what ships are left out.
        """
        if not self.stage:
            return {"strength": 0.0, "use_network": False}
        own = {"strength": self.strength, "mask_ratio": self.mask_ratio, "transition": self.transition}
        unused = {"device"} | (set() if STAGES[self.stage] else {"weights_path", "preset"})
        told = {key: value for key, value in shared.items() if key not in unused and value is not None}
        for key in [key for key in told if key.endswith("_path")]:
            path = Path(told[key]).absolute()
            if path.is_relative_to(Path(bundle_root()).absolute()):
                del told[key]
            else:
                told[key] = str(path)
        return {**told, **own, "use_network": STAGES[self.stage]}

    def arm(self, shared: Mapping[str, Any]) -> Arm:
        """The candidate as an arm of the study; ``shared`` are settings of ``Recalibrate.from_bundle``."""
        if not self.stage:
            return Arm(self.name, uses_synthetic=self.adds)
        transform = Recalibration(**{**shared, **self.overrides({})}).stage("frerec")
        return Arm(self.name, synthetic=transform, real=transform if self.all_images else None)


#: The two ways that are always tried: every answer is a difference to them.
NOT_ADDED, AS_THEY_ARE = Candidate("RAW", adds=False), Candidate("GDA")


def make_candidates(
    strengths: Sequence[float], mask_ratios: Sequence[float], transitions: Sequence[float], stages: Sequence[str]
) -> list[Candidate]:
    """Every combination of settings, for the synthetic images only.

    Args:
        strengths: of stage 1, in (0, 1].
        mask_ratios: of stage 1.
        transitions: of stage 1.
        stages: of :data:`STAGES`.

    Raises:
        ConfigError: a stage is unknown, or a strength is 0, which is the images as they are.
    """
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise ConfigError("stages", unknown[0], "no such stage", f"Choose from {', '.join(STAGES)}")
    if not all(strength > 0 for strength in strengths):
        raise ConfigError("strengths", list(strengths), "0 leaves the images as they are", "Leave it out")
    return [
        Candidate(f"{stage} {strength:g} {mask_ratio:g} {transition:g}", True, stage, strength, mask_ratio, transition)
        for stage, strength, mask_ratio, transition in product(
            dict.fromkeys(stages), dict.fromkeys(strengths), dict.fromkeys(mask_ratios), dict.fromkeys(transitions)
        )
    ]
