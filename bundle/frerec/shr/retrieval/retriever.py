"""Finding the images of a reference bank that are most similar to a query."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from frerec.errors import ConfigError, FreRecError
from frerec.shr.bank.info import BankInfo
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.retrieval.similarity import DescriptorSimilarity, RandomOrder, Similarity, SSIMSimilarity
from frerec.shr.statistics import content_hash, slices_as_batch

#: How references can be found; those named after SSIM need pixels in the bank.
METHODS: dict[str, Callable[[ReferenceBank], Similarity]] = {
    "descriptor": DescriptorSimilarity,
    "ssim": SSIMSimilarity,
    "random": RandomOrder,
}

#: The short list is never shorter: the first few of a large bank are decided by less than the estimate's error.
LEAST_LISTED = 200


class Retriever:
    """The ``top_k`` images of a reference bank most similar to a query; an image never finds itself.

    Methods, by name:

    - ``random``: any images. What is drawn from them then owes nothing to the query, and so nothing to a
      generator's bias at low frequencies; real images pay for it with a profile further from their own. Any bank.
    - ``descriptor``: nearest phase-free description of the low frequencies, blind to blur. Any bank.
    - ``ssim``: the paper's. Needs a bank with pixels.

    SSIM is estimated for the whole bank and computed densely for a short list. The result depends on nothing but
    the query and the bank: not on batch, order or number of threads.

    Args:
        bank: the reference bank.
        method: one of the above.
        top_k: how many to return.
        short_list: length of the short list that is ranked densely, in multiples of ``top_k``; at least 200 images.

    Raises:
        ConfigError: unknown method, one the bank's kind does not allow, or ``top_k`` exceeds the bank.
    """

    def __init__(
        self, bank: ReferenceBank, method: str = "descriptor", top_k: int = 5, short_list: float = 2.0
    ) -> None:
        if method not in METHODS:
            raise ConfigError("method", method, "unknown retrieval method", f"Use one of {', '.join(METHODS)}")
        if short_list < 1:
            raise ConfigError("short_list", short_list, "the short list holds at least top_k images", "Use 1 or more")
        self.bank, self.method, self.top_k, self.short_list = bank, method, top_k, short_list
        self._require(len(bank))
        self._similarity = METHODS[method](bank)

    def __call__(
        self,
        image: torch.Tensor,
        exclude_hash: int | None = None,
        exclude_group: int | None = None,
        fingerprint: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Retrieve.

        Args:
            image: (C, *spatial), normalised to [0, 1]; a volume (C, H, W, D) may meet a 2-D bank. An image of
                another size than the bank's is compared in the bank's size.
            exclude_hash: content hash of an image to leave out beside the query itself, for instance that of the
                query before augmentation.
            exclude_group: patient index whose images are left out; None or -1 for none.
            fingerprint: content hash of ``image``, where it is known already.

        Returns:
            ``(indices, scores)``: int64 (K,) and float64 (K,), best first, ties by index. Larger is more similar.

        Raises:
            ConfigError: fewer than ``top_k`` images remain.
            FreRecError: the query's channels or dimensions do not fit the bank.
        """
        x = torch.as_tensor(image).detach().cpu().float()
        known = [self.bank.rows_of(content_hash(x) if fingerprint is None else fingerprint)]
        if exclude_hash is not None:
            known.append(self.bank.rows_of(exclude_hash))
        if exclude_group is not None and exclude_group >= 0:
            known.append(self.bank.rows_of_group(exclude_group))
        excluded = np.unique(np.concatenate(known))
        self._require(len(self.bank) - len(excluded))
        batch = fitted(self.bank.info, slices_as_batch(x, self.bank.info.spatial_dims))
        listed = max(round(self.short_list * self.top_k), LEAST_LISTED)
        return self._similarity.closest(batch, self.top_k, listed, excluded)

    def _require(self, usable: int) -> None:
        if not 1 <= self.top_k <= usable:
            raise ConfigError(
                "top_k", self.top_k, f"the reference bank holds {usable} usable images",
                "Use a smaller top_k or a larger bank",
            )  # fmt: skip


def fitted(info: BankInfo, batch: torch.Tensor) -> torch.Tensor:
    """Images (B, C, *spatial) in the size of a bank's.

    Raises:
        FreRecError: they have another number of channels.
    """
    if batch.shape[1] != info.channels:
        raise FreRecError(
            f"the image has {batch.shape[1]} channel(s), the reference bank {info.channels}. "
            "Use a bank built from images of the same kind, or convert the image."
        )
    size = tuple(batch.shape[2:])
    if size != info.image_size:
        # means of areas where it shrinks, so that nothing is aliased into the low frequencies
        smaller = [min(a, b) for a, b in zip(size, info.image_size, strict=True)]
        batch = F.interpolate(batch, smaller, mode="area")
        batch = F.interpolate(batch, info.image_size, mode="bilinear" if len(size) == 2 else "trilinear")
    return batch
