"""What an audit remembers of a group of images: short vectors for each, sums for all, a bounded sample of pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from frerec.audit.artefacts import ringing
from frerec.audit.cnn import TileReservoir
from frerec.audit.dataset import central_slice
from frerec.audit.detector import RADIAL, Looks
from frerec.audit.fidelity import FidelityMetric
from frerec.audit.groups import MADE_FROM
from frerec.audit.neighbours import ThumbnailMetric
from frerec.audit.radial import radial_features
from frerec.audit.spectral import RadialSpectrumMetric, SpectrumMapMetric
from frerec.errors import FreRecError


@dataclass(frozen=True)
class CollectorSettings:
    """How much of each image is kept.

    Attributes:
        spatial_dims: 2 or 3.
        n_rings: rings of the radial spectra.
        map_size: side of the two-dimensional spectrum.
        cnn_images: images kept for the convolutional detectors; 0 for none.
        seed: seed of that choice.
    """

    spatial_dims: int = 2
    n_rings: int = 128
    map_size: int = 128
    cnn_images: int = 300
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
        self.spectra = RadialSpectrumMetric(settings.spatial_dims, settings.n_rings)
        self.looks_of: dict[str, list[np.ndarray]] = {window: [] for window in RADIAL}
        self.ringing_of: list[np.ndarray] = []
        # two of them, each of the images on one side of a coin, so that the set can be held against itself
        self.maps = (SpectrumMapMetric(settings.map_size), SpectrumMapMetric(settings.map_size))
        self.thumbnails = ThumbnailMetric()
        self.fidelity = FidelityMetric()
        self.reservoir = TileReservoir(settings.cnn_images, seed=settings.seed)

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
        if self.group == "shr":
            return
        self.spectra(pixels[None])
        self.features.append(features.detach().float().cpu().clone())
        plane = flat.float().cpu().numpy()
        for window, found in self.looks_of.items():
            found.append(radial_features(plane, window))
        self.ringing_of.append(ringing(plane))
        self.maps[coin(self.fold_groups()[-1])](flat[None])
        if self.settings.cnn_images:
            self.reservoir.add(flat, item["name"])
        if self.group in MADE_FROM:
            self.fidelity(pixels[None], item["reference_pixels"][None])

    def radial(self) -> torch.Tensor:
        """Radial spectra (N, C, R) of the periodic component, in log10 power."""
        return self.spectra.get_buffer()

    def looks(self) -> Looks:
        """What the independent detectors see."""
        tiles, names = self.reservoir.contents()
        number = {item["name"]: i for i, item in enumerate(self.items)}
        spectra = {window: torch.from_numpy(np.stack(found)) for window, found in self.looks_of.items()}
        return Looks(spectra, tiles, [number[name] for name in names])

    def ringing(self) -> np.ndarray:
        """Ringing (N, 2) by :func:`frerec.audit.artefacts.ringing`."""
        return np.stack(self.ringing_of)

    def spectrum_map(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean two-dimensional spectrum and its standard error."""
        return self.maps[0].merged(self.maps[1]).aggregate()

    def feature_matrix(self) -> torch.Tensor:
        """Features (N, F)."""
        return torch.stack(self.features)

    def fold_groups(self) -> list[str]:
        """What must stay together in cross-validation: the patient where known, else the image's name."""
        origin = MADE_FROM.get(self.group, self.group)
        return [f"{origin}/{item['patient'] or item['name']}" for item in self.items]


def rank(name: str) -> bytes:
    """Where a group of images comes in an order that depends on its name only."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


def coin(name: str) -> int:
    """0 or 1, by the name of a group of images only."""
    return rank(name)[-1] & 1


class Part:
    """Some images of a group, chosen by the names of their patients only.

    Args:
        whole: the group.
        index: which of its images.
        side: which of its two maps; None for both.
    """

    def __init__(self, whole: Group, index: Sequence[int], side: int | None = None) -> None:
        self.whole, self.index, self.side = whole, list(index), side

    @classmethod
    def halves(cls, whole: Group) -> tuple[Part, Part]:
        """Two halves of equal size; patients stay whole but for one at the seam."""
        order = _ranked(whole)
        middle = len(order) // 2
        return cls(whole, sorted(order[:middle]), 0), cls(whole, sorted(order[middle:]), 1)

    @classmethod
    def sample(cls, whole: Group, size: int) -> Part:
        """At most ``size`` images."""
        return cls(whole, sorted(_ranked(whole)[:size]))

    def __len__(self) -> int:
        return len(self.index)

    def radial(self) -> torch.Tensor:
        """Radial spectra (n, C, R)."""
        return self.whole.radial()[self.index]

    def looks(self) -> Looks | None:
        """What the independent detectors see; None of a bank."""
        looks = self.whole.looks()
        return looks.of_some(self.index) if looks else None

    def ringing(self) -> np.ndarray:
        """Ringing (n, 2)."""
        return self.images.ringing()[self.index]

    def spectrum_map(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean two-dimensional spectrum and its standard error."""
        return self.images.spectrum_map() if self.side is None else self.images.maps[self.side].aggregate()

    def feature_matrix(self) -> torch.Tensor:
        """Features (n, F)."""
        return self.images.feature_matrix()[self.index]

    def fold_groups(self) -> list[str]:
        """Names that stay together in cross-validation."""
        groups = self.whole.fold_groups()
        return [groups[i] for i in self.index]

    @property
    def images(self) -> GroupCollector:
        """The group, if it is one of images."""
        if not isinstance(self.whole, GroupCollector):
            raise FreRecError("a bank holds spectra, not images. Give real_dir.")
        return self.whole


def _ranked(whole: Group) -> list[int]:
    groups = whole.fold_groups()
    return sorted(range(len(groups)), key=lambda i: (rank(groups[i]), i))


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

    def radial(self) -> torch.Tensor:
        """The bank's spectra; it was built from periodic components."""
        return self.profiles

    def looks(self) -> None:
        """A bank holds nothing that an independent detector could look at."""

    def fold_groups(self) -> list[str]:
        """Every image by itself."""
        return [f"bank/{i}" for i in range(len(self))]


Group = GroupCollector | BankSpectra
