"""Finding the images of a reference bank that are most similar to a query."""

from __future__ import annotations

import torch

from frerec.errors import ConfigError, FreRecError
from frerec.shr.bank import ReferenceBank
from frerec.shr.ssim import ssim
from frerec.shr.statistics import content_hash, descriptor, slices_as_batch

METHODS = ("descriptor", "ssim", "ssim_lowpass")


class Retriever:
    """The ``top_k`` images of a bank most similar to a query; an image never finds itself.

    Args:
        bank: the reference bank.
        method: ``descriptor`` (any bank), ``ssim`` or ``ssim_lowpass`` (banks of kind ``pixels``).
        top_k: how many to return.

    Raises:
        ConfigError: unknown method, or one the bank's kind does not allow, or ``top_k`` exceeds the bank.
    """

    def __init__(self, bank: ReferenceBank, method: str = "descriptor", top_k: int = 200) -> None:
        if method not in METHODS:
            raise ConfigError("method", method, "unknown retrieval method", f"Use one of {', '.join(METHODS)}")
        if method != "descriptor":
            bank.pixels(slice(0, 0))
        self.bank, self.method, self.top_k = bank, method, top_k
        self._hashes = torch.from_numpy(bank.tensors["content_hash"].copy())
        self._groups = torch.from_numpy(bank.tensors["group"].copy())
        self._require(len(bank))
        table = torch.from_numpy(bank.tensors["descriptors"].astype("float64"))
        self._mean, self._std = table.mean(0), table.std(0, correction=0).clamp(min=1e-6)
        self._table = (table - self._mean) / self._std

    def __call__(
        self, image: torch.Tensor, exclude_hash: int | None = None, exclude_group: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Retrieve.

        Args:
            image: (C, *spatial), normalised to [0, 1]; a volume (C, H, W, D) may meet a 2-D bank.
            exclude_hash: content hash of an image to leave out beside the query itself, for instance that of the
                query before augmentation.
            exclude_group: patient index whose images are left out; -1 or None for none.

        Returns:
            ``(indices, scores)``: int64 (K,) and float64 (K,), best first, ties by index.

        Raises:
            FreRecError: fewer than ``top_k`` images remain, or the query does not fit the bank.
        """
        x = torch.as_tensor(image).detach().cpu().float()
        usable = self._hashes != content_hash(x)
        if exclude_hash is not None:
            usable &= self._hashes != exclude_hash
        if exclude_group is not None and exclude_group >= 0:
            usable &= self._groups != exclude_group
        self._require(int(usable.sum()))
        scores = self._scores(slices_as_batch(x, self.bank.info.spatial_dims))
        order = torch.sort(torch.where(usable, scores, -torch.inf), descending=True, stable=True).indices[: self.top_k]
        return order, scores[order]

    def _require(self, usable: int) -> None:
        if not 1 <= self.top_k <= usable:
            raise ConfigError(
                "top_k", self.top_k, f"the reference bank holds {usable} usable images",
                "Use a smaller top_k or a larger bank",
            )  # fmt: skip

    def _scores(self, batch: torch.Tensor) -> torch.Tensor:
        info = self.bank.info
        if self.method == "descriptor":
            query = descriptor(batch, info.spatial_dims, info.descriptor).double().mean(0)
            return -((self._table - (query - self._mean) / self._std).square().mean(1)).sqrt()
        parts = [
            ssim(batch, self.bank.pixels(slice(i, i + 64)), info.spatial_dims).double()
            for i in range(0, len(self.bank), 64)
        ]
        return torch.cat(parts)
