"""Is an image of the kind a reference bank was made of? A check against recalibrating a head with a bank of chests."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from os import PathLike
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from frerec.io.records import note
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.retrieval.retriever import fitted
from frerec.shr.retrieval.similarity import DescriptorSimilarity
from frerec.shr.statistics import content_hash, slices_as_batch

#: How far an image may lie from the bank, in units of what is far within it, to be called familiar, and unusual; what
#: lies farther is foreign. Our choice: see the table in docs/explanation/retrieval.md.
LIMIT, FOREIGN = 1.25, 2.0
#: The grades, from near to far.
FAMILIAR, UNUSUAL, FOREIGNER = "familiar", "unusual", "foreign"
#: Far within the bank: this share of its images is nearer to another one. Not the farthest, which may be a stray.
QUANTILE = 0.99
#: Images of the bank's sample whose nearest neighbours are looked up for that distance.
ANCHORS = 512


class Familiarity(Transform):
    """Distance of an image to a bank, next to the distances within the bank.

    The measure is that of ``method: descriptor``: the phase-free description of the low frequencies, blind to blur, so
    that a generator's smoothness alone makes no image unfamiliar. Of a bank of more than 4096 images the distances are
    those to its sample (``ReferenceBank.sample``), those within the bank as well, so a query costs
    the same however large the bank is.

    Args:
        bank: the bank, or the path of one.
    """

    def __init__(self, bank: ReferenceBank | str | PathLike[str]) -> None:
        self.bank = bank if isinstance(bank, ReferenceBank) else ReferenceBank.open(bank)
        self._similarity = DescriptorSimilarity(self.bank)
        self._hashes = self.bank.tensors["content_hash"][self.bank.sample]
        self._unit = self._similarity.gap(QUANTILE, ANCHORS)

    def __call__(self, image: torch.Tensor) -> float:
        """Compare one image.

        Args:
            image: (C, *spatial), nominal range [0, 1].

        Returns:
            Distance to the nearest image of the bank other than itself, divided by the distance that 99 % of the
            bank's own images keep within. About 1 and below is familiar; 0 if the bank's images do not differ.

        Raises:
            FreRecError: channels or dimensions do not fit the bank.
        """
        x = torch.as_tensor(image.as_tensor() if isinstance(image, MetaTensor) else image).detach().cpu().float()
        batch = fitted(self.bank.info, slices_as_batch(x, self.bank.info.spatial_dims))
        if self._unit == 0:
            return 0.0
        distances = self._similarity.distances(batch)
        return float(distances[torch.from_numpy(self._hashes != content_hash(x))].min()) / self._unit


def grade(distance: float) -> str:
    """One of the three grades of a distance measured by :class:`Familiarity`."""
    return FAMILIAR if distance <= LIMIT else UNUSUAL if distance <= FOREIGN else FOREIGNER


class WarnUnfamiliard(MapTransform):
    """Note in an image's record how far it lies from a bank, and a warning where it is foreign.

    Images are not changed. Whole folders of unusual images are told of in the summary of a run, not one by one.

    Args:
        keys: keys of images (C, *spatial), nominal range [0, 1].
        bank: see :class:`Familiarity`.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self,
        keys: KeysCollection,
        bank: ReferenceBank | str | PathLike[str],
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.measure = Familiarity(bank)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the note in the meta data."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            distance = self.measure(image)
            named, warning = grade(distance), ""
            if named == FOREIGNER:
                warning = (
                    f"it is foreign to the reference bank ({distance:.1f} times as far from its images as they are "
                    "from each other); use a bank and weights made from images of this kind and size"
                )
            operations = list(getattr(image, "applied_operations", []))
            noted = MetaTensor(
                torch.as_tensor(image), meta=dict(getattr(image, "meta", {})), applied_operations=operations
            )
            note(noted, bank_distance=distance, bank_grade=named, bank_warning=warning)
            result[key] = noted
        return result
