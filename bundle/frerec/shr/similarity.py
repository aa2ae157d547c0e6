"""The measures a query can be compared with a bank by. Each scores every image of the bank, larger is closer."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from frerec.shr.bank import ReferenceBank
from frerec.shr.descriptor import blur_direction, descriptor
from frerec.shr.prediction import BlurFreeSpace, ridge
from frerec.shr.ssim import SSIMQuery
from frerec.shr.statistics import content_hash
from frerec.shr.windows import block_means, local_moments, strided_ssim


class Similarity(Protocol):
    """What :class:`frerec.shr.retrieval.Retriever` needs of a measure."""

    def estimate(self, batch: torch.Tensor) -> torch.Tensor:
        """Score of every bank image for a query (B, C, *spatial) of B slices, float64 (N,)."""

    def exact(self, batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor | None:
        """Exact scores, float64, of some bank images; None where the estimate is exact."""


class DescriptorSimilarity:
    """Distance of descriptors without the blur direction, or of the high-band profiles they predict.

    Args:
        bank: any bank.
        predict: compare predicted profiles.
    """

    def __init__(self, bank: ReferenceBank, predict: bool) -> None:
        info = bank.info
        self._info = info
        table = torch.from_numpy(bank.tensors["descriptors"].copy())
        self._space = BlurFreeSpace(table, blur_direction(info.image_size, info.channels, info.descriptor))
        self._table = self._space(table)
        self._map: torch.Tensor | None = None
        if predict:
            high = bank.profiles[..., bank.frequencies >= info.descriptor.cut].flatten(1).double()
            self._map = ridge(self._table, high - high.mean(0))
            self._table = self._table @ self._map

    def estimate(self, batch: torch.Tensor) -> torch.Tensor:
        """Negative root mean square difference; for profiles in decades of power."""
        query = self._space(descriptor(batch, self._info.spatial_dims, self._info.descriptor).mean(0))
        query = query if self._map is None else query @ self._map
        return -(self._table - query).square().mean(1).sqrt()

    def exact(self, batch: torch.Tensor, indices: torch.Tensor) -> None:
        """The estimate is exact."""

    def gap(self, quantile: float, anchors: int) -> float:
        """A quantile of the distance of a bank image to its nearest neighbour, over at most so many of them."""
        chosen = torch.linspace(0, len(self._table) - 1, min(anchors, len(self._table))).round().long().unique()
        distance = torch.cdist(self._table[chosen], self._table) / self._table.shape[1] ** 0.5
        distance[torch.arange(len(chosen)), chosen] = torch.inf
        nearest = distance.min(1).values
        return float(nearest.quantile(quantile)) if len(self._table) > 1 else 0.0


class RandomOrder:
    """No measure at all: an order drawn from the query's content, the same whenever that query comes.

    Args:
        bank: any bank.
    """

    def __init__(self, bank: ReferenceBank) -> None:
        self._count = len(bank)

    def estimate(self, batch: torch.Tensor) -> torch.Tensor:
        """Uniform numbers in [0, 1)."""
        generator = torch.Generator().manual_seed(content_hash(batch) & (2**63 - 1))
        return torch.rand(self._count, dtype=torch.float64, generator=generator)

    def exact(self, batch: torch.Tensor, indices: torch.Tensor) -> None:
        """The estimate is exact."""


class SSIMSimilarity:
    """SSIM: strided-window estimate for all, dense for the short list.

    A volume that meets a 2-D bank is represented by at most 8 of its slices, evenly spaced.

    Args:
        bank: a bank of kind ``pixels``.
        lowpass: compare low-passed images (:attr:`frerec.shr.bank_info.BankInfo.lowpass_block`).
        centred: take from each bank image's score the mean score that images of the bank have with it. SSIM likes
            smooth references whatever the query; this removes that liking.

    Raises:
        ConfigError: the bank holds no pixels.
    """

    #: Images of the bank estimated at a time; few, for the same reason as PAIRS.
    CHUNK = 64
    #: Pairs of images compared densely at a time; few, so that the maps stay in the processor's cache.
    PAIRS = 8
    #: Images of the bank that the mean score is taken over.
    ANCHORS = 128
    #: Slices that stand for a volume.
    SLICES = 8

    def __init__(self, bank: ReferenceBank, lowpass: bool = False, centred: bool = False) -> None:
        bank.pixels(slice(0, 0))
        self._bank, self._dims = bank, bank.info.spatial_dims
        self._block = bank.info.lowpass_block if lowpass else 1
        self._windows = bank.tensors["lowpass_windows" if lowpass else "windows"]
        self._offset = torch.zeros(len(bank), dtype=torch.float64)
        if centred:
            anchors = np.unique(np.linspace(0, len(bank) - 1, self.ANCHORS).round().astype(int))
            self._offset = self._strided(torch.from_numpy(self._windows[anchors].astype(np.float32)))

    def estimate(self, batch: torch.Tensor) -> torch.Tensor:
        """Mean strided-window SSIM with every bank image, float64 (N,)."""
        return self._strided(local_moments(block_means(self._slices(batch), self._block), self._dims)) - self._offset

    def exact(self, batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Dense SSIM with some bank images, float64 (n,)."""
        queries = [SSIMQuery(x, self._dims) for x in block_means(self._slices(batch), self._block).split(1)]
        scores = torch.zeros(len(indices), dtype=torch.float64)
        for start in range(0, len(indices), self.PAIRS):
            some = slice(start, start + self.PAIRS)
            images = block_means(self._bank.pixels(indices[some]), self._block)
            scores[some] = torch.stack([query(images) for query in queries]).mean(0)
        return scores - self._offset[indices]

    def _slices(self, batch: torch.Tensor) -> torch.Tensor:
        chosen = torch.linspace(0, len(batch) - 1, min(len(batch), self.SLICES)).round().long()
        return batch[chosen].clamp(0, 1)

    def _strided(self, queries: torch.Tensor) -> torch.Tensor:
        scores = []
        for start in range(0, len(self._bank), self.CHUNK):
            # torch widens half precision several times faster than numpy
            chunk = torch.from_numpy(np.array(self._windows[start : start + self.CHUNK])).float()
            scores.append(torch.stack([strided_ssim(query, chunk).double() for query in queries]).mean(0))
        return torch.cat(scores)
