"""What of a candidate can be measured without training: can the images be told from real ones, and what did it cost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import PSNRMetric

from frerec.audit.cross_validation import FEWEST, DetectorMetric
from frerec.audit.detector import RADIAL
from frerec.audit.radial import radial_features
from frerec.audit.spectral import SpectrumMapMetric, off_ring_excess
from frerec.audit.verdict import AUC_LIMIT, PEAK, PEAK_Z
from frerec.spectrum.power import radial_power, ring_frequencies, spectral_gap


@dataclass(frozen=True)
class Figures:
    """Figures of a candidate's synthetic images against real images of the same class, of the class that is worst.

    Args:
        gap: mean distance of mean log10 radial power, in decades.
        radial: cross-validated AUC of the detector on plain radial spectra; None with fewer than
            :data:`frerec.audit.cross_validation.FEWEST` images on a side.
        radial_hann: that under a Hann window.
        peak: height of the most certain isolated point of the difference spectrum, in decades.
        peak_z: in standard errors.
        psnr: of the images against themselves as they came, in dB; infinite for unchanged ones.
    """

    gap: float
    radial: float | None
    radial_hann: float | None
    peak: float
    peak_z: float
    psnr: float

    @property
    def detector(self) -> float:
        """The better of the two detectors; 1 where it is not known."""
        return 1.0 if self.radial is None or self.radial_hann is None else max(self.radial, self.radial_hann)

    @property
    def artefact(self) -> float:
        """Height of the isolated point where it is an artefact by the limits of the audit, else 0."""
        return self.peak if self.peak >= PEAK and self.peak_z >= PEAK_Z else 0.0

    @property
    def alike(self) -> bool:
        """Whether nothing here tells the images from real ones, by the limits of the audit."""
        return self.detector <= AUC_LIMIT and self.artefact == 0

    def beats(self, other: Figures) -> bool:
        """Whether these are at least as good in every figure, as far as it is worth printing, and better in one."""
        own, others = (
            (-round(f.detector, 2), -round(f.gap, 2), -round(f.artefact, 1), round(f.psnr, 1)) for f in (self, other)
        )
        return own != others and all(a >= b for a, b in zip(own, others, strict=True))


class Looks:
    """What the measures see of a set of images of one class.

    Args:
        images: (N, C, H, W) in [0, 1].
        groups: names; images that share one (a patient) are never split between training and test of a detector.
    """

    def __init__(self, images: torch.Tensor, groups: Sequence[str] | None = None) -> None:
        self.images, self.groups = images.float(), groups
        self.power = radial_power(self.images, 2)
        plain = self.images.numpy()
        self.spectra = {
            name: torch.from_numpy(np.stack([radial_features(image, window) for image in plain]))
            for window, name in RADIAL.items()
        }
        self.map = SpectrumMapMetric()
        self.map(self.images)

    def against(self, real: Looks, before: torch.Tensor) -> Figures:
        """Measure these synthetic images.

        Args:
            real: what real images of the class look like.
            before: (N, C, H, W), these images as they came.
        """
        enough = min(len(self.images), len(real.images)) >= FEWEST
        # the value is wanted, not its interval
        ask = DetectorMetric(draws=1)
        found = {
            name: ask(self.spectra[name], real.spectra[name], self.groups, real.groups).value if enough else None
            for name in RADIAL.values()
        }
        isolated = off_ring_excess(*self.map.aggregate(), *real.map.aggregate())
        psnr = PSNRMetric(max_val=1.0)._compute_metric(self.images, before.float())
        return Figures(
            spectral_gap(self.power, real.power, ring_frequencies(self.power.shape[-1], 2)),
            found["radial"], found["radial_hann"], float(isolated["peak"]), float(isolated["peak_z"]),
            float(psnr.mean()),
        )  # fmt: skip


def worst(classes: Sequence[Figures]) -> Figures:
    """The worst of each figure over classes: a fingerprint in one class alone is its label."""
    known = [(f.radial, f.radial_hann) for f in classes if f.radial is not None and f.radial_hann is not None]
    whole = len(known) == len(classes)
    peak = max(classes, key=lambda f: (f.artefact, f.peak_z))
    return Figures(
        max(f.gap for f in classes),
        max(pair[0] for pair in known) if whole else None,
        max(pair[1] for pair in known) if whole else None,
        peak.peak, peak.peak_z, min(f.psnr for f in classes),
    )  # fmt: skip


def shortlist(figures: Mapping[str, Figures], as_they_are: Figures, keep: int) -> tuple[list[str], dict[str, str]]:
    """The candidates worth training for, and why the others are not.

    Args:
        figures: of every recalibration, by name.
        as_they_are: of the untouched images.
        keep: how many to keep. Of those that no other beats in all figures, they are taken evenly along the way from
            the best aligned to the most faithful, both ends included.

    Returns:
        Names in that order, and the reason for each name left out.
    """
    if as_they_are.alike:
        return [], dict.fromkeys(figures, "nothing to repair was found")
    beaten = {
        name: "another is better in every figure"
        for name, own in figures.items()
        if any(f.beats(own) for f in figures.values())
    }
    rest = {name: f for name, f in figures.items() if name not in beaten}
    front = sorted(rest, key=lambda name: (rest[name].detector, rest[name].artefact, rest[name].gap, name))
    count = min(keep, len(front))
    places = [round(i * (len(front) - 1) / max(1, count - 1)) for i in range(count)]
    kept = [front[place] for place in places]
    return kept, beaten | dict.fromkeys(set(front) - set(kept), "lies between others")
