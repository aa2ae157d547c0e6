"""Detectors of generated images: can anything tell real from synthetic? AUC, 0.5 where it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch

from frerec.audit.cnn import FitCNN, tiles_of
from frerec.audit.cross_validation import FEWEST, DetectorMetric
from frerec.audit.radial import radial_features
from frerec.io.intensity import NormalizeRange
from frerec.io.loader import LoadMedicalImage
from frerec.report.statistics import Interval

#: Detectors on radial spectra, by their window.
RADIAL = {"plain": "radial", "hann": "radial_hann"}
#: The detectors that share neither code nor settings with the method, in the order of tables.
INDEPENDENT = (*RADIAL.values(), "cnn_high_pass", "cnn_pixels")


def detect(
    real: Sequence[Any],
    synthetic: Sequence[Any],
    groups_real: Sequence[str] | None = None,
    groups_synthetic: Sequence[str] | None = None,
    cnn_steps: int = 600,
    device: torch.device | str = "cpu",
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """How well each of the four independent detectors tells two sets of images apart.

    Args:
        real: files, or arrays or tensors (H, W) or (C, H, W), floating on a nominal [0, 1] range or whole numbers of
            their full range; all of one number of channels, of any size.
        synthetic: the same of the other set.
        groups_real: names; images that share one (a patient) are never split between training and test.
        groups_synthetic: the same of the other set.
        cnn_steps: training steps of a convolutional detector; 0 leaves them out.
        device: where these train.
        draws: bootstrap samples of the intervals.
        seed: seed of everything drawn.

    Returns:
        Cross-validated AUC by name: ``radial`` (logistic regression on the plain radial spectrum), ``radial_hann``
        (under a Hann window), ``cnn_high_pass`` and ``cnn_pixels``. 0.5 cannot tell, 1 always tells. The same input
        and seed give the same result on one number of threads.

    Raises:
        FreRecError: fewer than :data:`FEWEST` images on a side.
    """
    pairs = [(_as_image(image) for image in side) for side in (synthetic, real)]
    judged, reference = (Looks.of(images, seed) for images in pairs)
    return run_detectors(judged, reference, groups_synthetic, groups_real, cnn_steps, device, draws, seed)


@dataclass(frozen=True)
class Looks:
    """What the independent detectors see of a set of images.

    Attributes:
        spectra: by window (``plain``, ``hann``), float32 (N, C, R) of :func:`frerec.audit.radial.radial_features`.
        tiles: for each image that was kept for the networks, float16 (T, C, S, S).
        kept: index of each of these images in the set.
    """

    spectra: Mapping[str, torch.Tensor]
    tiles: Sequence[np.ndarray]
    kept: Sequence[int]

    @classmethod
    def of(cls, images: Iterable[np.ndarray], seed: int = 0) -> Looks:
        """Look at every image, each (C, H, W) on a nominal [0, 1] range."""
        spectra: dict[str, list[np.ndarray]] = {window: [] for window in RADIAL}
        tiles = []
        for number, image in enumerate(images):
            for window, found in spectra.items():
                found.append(radial_features(image, window))
            tiles.append(tiles_of(torch.from_numpy(image), seed=seed + number).numpy())
        joined = {window: torch.from_numpy(np.stack(found)) for window, found in spectra.items()}
        return cls(joined, tiles, range(len(tiles)))

    def of_some(self, index: Sequence[int]) -> Looks:
        """The same of some of the images, in that order."""
        place = {number: i for i, number in enumerate(index)}
        kept = [(place[number], tiles) for number, tiles in zip(self.kept, self.tiles, strict=True) if number in place]
        spectra = {window: found[list(index)] for window, found in self.spectra.items()}
        return Looks(spectra, [tiles for _, tiles in kept], [number for number, _ in kept])


def run_detectors(
    judged: Looks,
    reference: Looks,
    groups_judged: Sequence[str] | None = None,
    groups_reference: Sequence[str] | None = None,
    cnn_steps: int = 600,
    device: torch.device | str = "cpu",
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Run the detectors of :func:`detect` on what was collected of two sets; arguments and result as there."""
    regression = DetectorMetric(draws=draws, seed=seed)
    found = {
        name: regression(judged.spectra[window], reference.spectra[window], groups_judged, groups_reference)
        for window, name in RADIAL.items()
    }
    if not cnn_steps or min(len(judged.tiles), len(reference.tiles)) < FEWEST:
        return found
    count = max(len(tiles) for side in (judged, reference) for tiles in side.tiles)
    # images of fewer tiles show them more than once
    x, y = (
        torch.from_numpy(np.stack([t[np.arange(count) % len(t)] for t in side.tiles])) for side in (judged, reference)
    )
    names = [
        [f"{mark}{i}" if groups is None else groups[i] for i in side.kept]
        for mark, groups, side in (("p", groups_judged, judged), ("r", groups_reference, reference))
    ]
    for name, high_passed in (("cnn_high_pass", True), ("cnn_pixels", False)):
        fit = FitCNN(high_passed, cnn_steps, device=device)
        found[name] = DetectorMetric(fit, n_splits=3, repeats=1, draws=draws, seed=seed)(x, y, *names)
    return found


def _as_image(image: Any) -> np.ndarray:
    """An image (C, H, W), float32 on a nominal [0, 1] range, of a file, an array or a tensor."""
    if isinstance(image, (str, PathLike)):
        image = NormalizeRange()(LoadMedicalImage()(image))
    array = np.asarray(image)
    if np.issubdtype(array.dtype, np.integer):
        array = array / np.float32(np.iinfo(array.dtype).max)
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array, dtype=np.float32)
