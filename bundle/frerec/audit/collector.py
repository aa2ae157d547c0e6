"""What an audit remembers of a group of images: short vectors for each, sums for all, a bounded sample of pixels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch

from frerec.audit.cnn import PixelReservoir
from frerec.audit.dataset import central_slice
from frerec.audit.fidelity import FidelityMetric
from frerec.audit.groups import MADE_FROM
from frerec.audit.neighbours import ThumbnailMetric
from frerec.audit.spectral import RadialSpectrumMetric, SpectrumMapMetric

#: Border treatments the radial spectra are computed with. Recalibration itself uses the first; a detector that
#: looks through the other judges it independently.
WINDOWS = ("periodic", "hann")


@dataclass(frozen=True)
class CollectorSettings:
    """How much of each image is kept.

    Attributes:
        spatial_dims: 2 or 3.
        n_rings: rings of the radial spectra.
        map_size: side of the two-dimensional spectrum.
        cnn_images: images kept for the convolutional detector; 0 for none.
        cnn_size: side of the crops kept for it.
        seed: seed of that choice.
    """

    spatial_dims: int = 2
    n_rings: int = 128
    map_size: int = 128
    cnn_images: int = 300
    cnn_size: int = 128
    seed: int = 0


class GroupCollector:
    """Accumulates one group of images.

    Args:
        group: name of the group, of :data:`frerec.audit.groups.GROUPS`.
        settings: how much is kept.
        examples: names of the images whose pixels are kept for the picture strip.
    """

    def __init__(self, group: str, settings: CollectorSettings, examples: Collection[str] = ()) -> None:
        self.group = group
        self.settings = settings
        self.example_names = frozenset(examples)
        self.items: list[dict[str, Any]] = []
        self.features: list[torch.Tensor] = []
        self.examples: dict[str, torch.Tensor] = {}
        dims, rings = settings.spatial_dims, settings.n_rings
        self.spectra = {window: RadialSpectrumMetric(dims, rings, window) for window in WINDOWS}
        self.map = SpectrumMapMetric(settings.map_size)
        self.thumbnails = ThumbnailMetric()
        self.fidelity = FidelityMetric()
        self.reservoir = PixelReservoir(settings.cnn_images, settings.cnn_size, settings.seed)

    def __len__(self) -> int:
        return len(self.items)

    def add(self, item: dict[str, Any], features: torch.Tensor) -> None:
        """Add one image.

        Args:
            item: as :class:`frerec.audit.dataset.AuditDataset` returns it.
            features: (F,) of the feature network.
        """
        pixels = item["pixels"]
        flat = central_slice(pixels, self.settings.spatial_dims)
        self.items.append({key: item[key] for key in ("image", "name", "label", "patient")})
        self.thumbnails(flat[None])
        if item["name"] in self.example_names:
            self.examples[item["name"]] = flat.clone()
        if self.group in ("training", "shr"):
            return
        for metric in self.spectra.values():
            metric(pixels[None])
        self.map(flat[None])
        self.features.append(features.detach().float().cpu().clone())
        if self.settings.cnn_images:
            self.reservoir.add(flat, item["name"])
        if self.group in MADE_FROM:
            self.fidelity(pixels[None], item["reference_pixels"][None])

    def radial(self, window: str) -> torch.Tensor:
        """Radial spectra (N, C, R) in log10 power."""
        return self.spectra[window].get_buffer()

    def feature_matrix(self) -> torch.Tensor:
        """Features (N, F)."""
        return torch.stack(self.features)

    def fold_groups(self) -> list[str]:
        """What must stay together in cross-validation: the patient where known, else the image's name."""
        origin = MADE_FROM.get(self.group, self.group)
        return [f"{origin}/{item['patient'] or item['name']}" for item in self.items]


class BankSpectra:
    """Real spectra out of a reference bank, where the audit has no real images.

    Args:
        profiles: (N, C, R) log10 mean power on each ring.
    """

    group = "real"

    def __init__(self, profiles: torch.Tensor) -> None:
        self.profiles = profiles.float()

    def __len__(self) -> int:
        return len(self.profiles)

    def radial(self, window: str) -> torch.Tensor:
        """The bank's spectra; it was built with the border treatment ``periodic``."""
        return self.profiles

    def fold_groups(self) -> list[str]:
        """Every image by itself."""
        return [f"bank/{i}" for i in range(len(self))]
