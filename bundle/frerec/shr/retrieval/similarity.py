"""The measures a query can be compared with a bank by; larger is closer."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.retrieval.descriptor import BlurFreeSpace, blur_direction, descriptor
from frerec.shr.retrieval.ssim import SSIMQuery
from frerec.shr.retrieval.windows import local_moments, strided_ssim
from frerec.shr.statistics import content_hash

#: The closest images of a bank: rows int64 (n,) and scores float64 (n,), best first, ties by row.
Found = tuple[torch.Tensor, torch.Tensor]


class Similarity(Protocol):
    """What :class:`frerec.shr.retrieval.retriever.Retriever` needs of a measure."""

    def closest(self, batch: torch.Tensor, count: int, listed: int, excluded: npt.NDArray[Any]) -> Found:
        """The bank images closest to a query.

        Args:
            batch: the query (B, C, *spatial), B slices of the bank's size.
            count: how many; at most as many as there are without the excluded.
            listed: how many an estimate may choose for an exact measure to rank; at least ``count``.
            excluded: rows to leave out, int64, ascending.
        """


def ranked(scores: torch.Tensor) -> torch.Tensor:
    """Indices from the largest score to the smallest; what differs by rounding alone is a tie, taken by index."""
    # numpy sorts some hundred numbers several times faster than torch
    return torch.from_numpy(np.argsort(-scores.double().round(decimals=9).numpy(), kind="stable"))


class DescriptorSimilarity:
    """Distance of descriptors without the blur direction.

    What has to be fitted is fitted on the bank's sample, so that opening a large bank costs no more than a small one.

    Args:
        bank: any bank.
    """

    #: Images of the bank compared at a time; few, so that they stay in the processor's cache.
    CHUNK = 4096

    def __init__(self, bank: ReferenceBank) -> None:
        info = bank.info
        self._bank, self._info = bank, info
        table = self._descriptors(bank.sample)
        self._space = BlurFreeSpace(table, blur_direction(info.image_size, info.channels, info.descriptor))
        # the sample as it is compared, float64 (n, dimensions)
        self._table = self._space(table)

    def distances(self, batch: torch.Tensor) -> torch.Tensor:
        """Distance, as :meth:`closest` scores it, of a query and each image of the sample, float64 (n,)."""
        return self._distance(self._described(batch), self._table)

    def closest(self, batch: torch.Tensor, count: int, listed: int, excluded: npt.NDArray[Any]) -> Found:
        """Nearest images by negative root mean square difference."""
        query = self._described(batch)
        rows = self._listed(query, min(listed, len(self._bank) - len(excluded)), excluded)
        scores = -self._distance(query, self._space(self._descriptors(rows.numpy())))
        order = ranked(scores)[:count]
        return rows[order], scores[order]

    def _listed(self, query: torch.Tensor, length: int, excluded: npt.NDArray[Any]) -> torch.Tensor:
        """The nearest by an estimate in single precision, ascending; the descriptors are read chunk by chunk."""
        rows, scores = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
        threshold = -torch.inf
        for start in range(0, len(self._bank), self.CHUNK):
            some = self._descriptors(slice(start, start + self.CHUNK))
            score = -self._space.squared_distances(some, query)
            first, last = np.searchsorted(excluded, [start, start + self.CHUNK])
            score[excluded[first:last] - start] = -torch.inf
            good = (score > threshold).nonzero().squeeze(1)
            rows, scores = torch.cat([rows, good + start]), torch.cat([scores, score[good]])
            if len(rows) > max(self.CHUNK, 2 * length) or start + self.CHUNK >= len(self._bank):
                best = torch.sort(scores, descending=True, stable=True).indices[:length]
                rows, scores = rows[best], scores[best]
                threshold = float(scores[-1]) if len(scores) == length else -torch.inf
        return rows.sort().values

    def _descriptors(self, rows: npt.NDArray[Any] | slice) -> torch.Tensor:
        return torch.from_numpy(np.array(self._bank.tensors["descriptors"][rows]))

    def _described(self, batch: torch.Tensor) -> torch.Tensor:
        return descriptor(batch, self._info.spatial_dims, self._info.descriptor).mean(0)

    def _distance(self, query: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return (table - self._space(query)).square().mean(1).sqrt()

    def gap(self, quantile: float, anchors: int) -> float:
        """A quantile of the distance of an image of the sample to the nearest other, over so many of them."""
        chosen = torch.linspace(0, len(self._table) - 1, min(anchors, len(self._table))).round().long().unique()
        distance = torch.cdist(self._table[chosen], self._table) / self._table.shape[1] ** 0.5
        distance[torch.arange(len(chosen)), chosen] = torch.inf
        nearest = distance.min(1).values
        return float(nearest.quantile(quantile)) if len(self._table) > 1 else 0.0


class RandomOrder:
    """No measure at all: images drawn from the query's content, the same whenever that query comes.

    Args:
        bank: any bank.
    """

    def __init__(self, bank: ReferenceBank) -> None:
        self._count = len(bank)

    def closest(self, batch: torch.Tensor, count: int, listed: int, excluded: npt.NDArray[Any]) -> Found:
        """Images drawn without replacement; scores fall along the order of the draws."""
        generator = np.random.default_rng(content_hash(batch) & (2**63 - 1))
        drawn = generator.choice(self._count - len(excluded), count, replace=False)
        for row in excluded:  # ascending: each one left out shifts the rows after it by one
            drawn[drawn >= row] += 1
        return torch.from_numpy(drawn), torch.arange(count, 0, -1, dtype=torch.float64) / (count + 1)


class SSIMSimilarity:
    """SSIM: strided-window estimate for all, dense for the short list.

    A volume that meets a 2-D bank is represented by at most 8 of its slices, evenly spaced.

    Args:
        bank: a bank of kind ``pixels``.

    Raises:
        ConfigError: the bank holds no pixels.
    """

    #: Images of the bank estimated at a time; few, for the same reason as PAIRS.
    CHUNK = 64
    #: Pairs of images compared densely at a time; few, so that the maps stay in the processor's cache.
    PAIRS = 8
    #: Slices that stand for a volume.
    SLICES = 8

    def __init__(self, bank: ReferenceBank) -> None:
        bank.pixels(slice(0, 0))
        self._bank, self._dims = bank, bank.info.spatial_dims
        self._windows = bank.tensors["windows"]

    def closest(self, batch: torch.Tensor, count: int, listed: int, excluded: npt.NDArray[Any]) -> Found:
        """Largest mean SSIM: strided-window estimates of all, then dense SSIM of the short list."""
        windows = local_moments(self._slices(batch), self._dims)
        estimate = self._strided(windows)
        estimate[excluded] = -torch.inf
        rows = ranked(estimate)[: min(listed, len(estimate) - len(excluded))].sort().values
        scores = self._dense(batch, rows)
        order = ranked(scores)[:count]
        return rows[order], scores[order]

    def _dense(self, batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Dense SSIM with some bank images, float64 (n,)."""
        queries = [SSIMQuery(x, self._dims) for x in self._slices(batch).split(1)]
        scores = torch.zeros(len(indices), dtype=torch.float64)
        for start in range(0, len(indices), self.PAIRS):
            some = slice(start, start + self.PAIRS)
            images = self._bank.pixels(indices[some])
            scores[some] = torch.stack([query(images) for query in queries]).mean(0)
        return scores

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
