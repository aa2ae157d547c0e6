"""The reference bank: what is known of a set of real images, in one file."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from frerec.errors import ConfigError, FreRecError, InputError
from frerec.shr.bank.builder import PIXEL_SCALE, BankBuilder
from frerec.shr.bank.file import map_tensors, tensors_checksum, write_tensors
from frerec.shr.bank.info import BankInfo
from frerec.shr.bank.rows import Rows
from frerec.shr.statistics import aggregate_bands, ring_counts
from frerec.spectrum.power import POWER_FLOOR, fill_empty, ring_frequencies

#: Most images of a bank that stand for it where the cost must not grow with the bank. Descriptions have some hundred
#: figures, so this many also serve to fit what is fitted on them.
SAMPLE = 4096


class ReferenceBank:
    """A set of real images as spectral statistics, retrieval descriptors and, in house, pixels.

    Open one with :meth:`open`, make one with :meth:`build`. Its file is mapped, not read, so a bank larger than
    memory works, and copies in data loader workers share it. What is read of it is compared with its checksums first.

    Args:
        info: the header.
        tensors: ``ring_statistics`` float32 (N, C, R, 4), ``descriptors`` float32 (N, D), ``content_hash`` int64
            (N,), ``group`` int32 (N,); for kind ``pixels`` also ``pixels`` (N, C, *spatial) uint8, uint16 or float16,
            ``windows`` float16 (N, terms, C * windows), see :mod:`frerec.shr.retrieval.windows`.
        path: the file they are mapped from, if any.
    """

    def __init__(self, info: BankInfo, tensors: Mapping[str, Rows], path: Path | None = None) -> None:
        self.info, self.tensors, self.path = info, tensors, path

    @classmethod
    def open(cls, path: str | os.PathLike[str], verify: bool = True) -> ReferenceBank:
        """Open a bank file.

        Args:
            path: a ``.safetensors`` file written by :meth:`save`.
            verify: compare the checksum of what is read at once: header and block hashes, or of a file of format
                version 1 everything. The blocks themselves are compared where they are used, see :meth:`verify`.

        Raises:
            InputError: missing, truncated, not a bank, another format version, or a wrong checksum.
        """
        path = Path(path)
        tensors, metadata = map_tensors(path, verify)
        info = BankInfo.from_metadata(metadata, str(path))
        wanted = info.tensor_names
        counts = {len(tensors[name]) for name in wanted & tensors.keys()}
        expected = (info.channels, info.n_rings, 4)
        if not wanted <= tensors.keys() or len(counts) != 1 or tensors["ring_statistics"].shape[1:] != expected:
            raise InputError(path, "its tensors do not match its header", "Build the bank anew")
        bank = cls(info, tensors, path.resolve())
        bank.__dict__["sha256"] = metadata["sha256"]
        return bank

    @classmethod
    def build(
        cls,
        images: Iterable[npt.ArrayLike | torch.Tensor],
        path: str | os.PathLike[str] | None = None,
        groups: Iterable[int] | None = None,
        **settings: Any,
    ) -> ReferenceBank:
        """Make a bank from images.

        Args:
            images: (C, *spatial) arrays or tensors, normalised to [0, 1], all of one shape.
            path: where to save it; None keeps it in memory.
            groups: patient index of each image, -1 where unknown.
            settings: arguments of :class:`frerec.shr.bank.builder.BankBuilder`: ``kind``, ``spatial_dims``,
                ``n_rings``, ``spacing``, ``descriptor``, ``pixel_dtype``, ``provenance``, ``licence``.

        Raises:
            FreRecError: an image cannot be used; the message tells which.
        """
        builder = BankBuilder(**settings)
        _add_all(builder, images, groups)
        bank = cls(*builder.finish())
        return bank if path is None else bank.save(path)

    def append(self, images: Iterable[npt.ArrayLike | torch.Tensor], groups: Iterable[int] | None = None) -> None:
        """Add images; a bank with a file grows there, whole or not at all.

        Args:
            images: as in :meth:`build`, of the bank's shape.
            groups: patient index of each image, -1 where unknown.

        Raises:
            FreRecError: an image cannot be used; the bank stays as it was.
        """
        builder = BankBuilder(self.info, pixel_dtype=self.pixel_dtype)
        _add_all(builder, images, groups)
        self.extend(builder)

    def extend(self, builder: BankBuilder) -> None:
        """Add what a builder that was started with this bank's header has collected."""
        _, added = builder.finish()
        parts = {name: [tensor, added[name]] for name, tensor in self.tensors.items()}
        if self.path is None:
            self.tensors = {name: np.concatenate(part) for name, part in parts.items()}
        else:
            write_tensors(self.path, parts, self.info.to_metadata())
            self.tensors = map_tensors(self.path, verify=False)[0]
        for name in ("sha256", "sample", "_by_hash", "_by_group"):
            self.__dict__.pop(name, None)

    def verify(self) -> None:
        """Compare every block that was not used yet with its checksum.

        Raises:
            InputError: the file is damaged.
        """
        for tensor in self.tensors.values():
            for start in range(0, len(tensor), SAMPLE):
                tensor[start : start + SAMPLE]

    def save(self, path: str | os.PathLike[str]) -> ReferenceBank:
        """Write the bank to a file and return it opened from there."""
        write_tensors(path, {name: [tensor] for name, tensor in self.tensors.items()}, self.info.to_metadata())
        return self.open(path, verify=False)

    def __len__(self) -> int:
        return len(self.tensors["group"])

    def __repr__(self) -> str:
        size = "x".join(map(str, self.info.image_size))
        return f"ReferenceBank({self.info.kind}, {len(self)} images of {self.info.channels} x {size}, {self.path})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.path is not None:
            return _reopen, (str(self.path), self.sha256)
        return type(self), (self.info, {name: np.asarray(t) for name, t in self.tensors.items()})

    @cached_property
    def sha256(self) -> str:
        """Checksum of header and tensors, hexadecimal."""
        return tensors_checksum({name: [t] for name, t in self.tensors.items()}, self.info.to_metadata())

    @property
    def pixel_dtype(self) -> str:
        """How pixels are stored; ``uint8`` where there are none."""
        return str(self.tensors["pixels"].dtype) if "pixels" in self.tensors else "uint8"

    @property
    def frequencies(self) -> torch.Tensor:
        """Centre of each ring as a radius in fractions of Nyquist, float32 (R,)."""
        return ring_frequencies(self.info.n_rings, self.info.spatial_dims)

    @cached_property
    def counts(self) -> torch.Tensor:
        """Number of coefficients of the full spectrum on each ring, float64 (R,)."""
        return ring_counts(self.info.image_size, self.info.n_rings, self.info.spacing)

    @cached_property
    def sample(self) -> npt.NDArray[np.int64]:
        """Rows that stand for the bank: all of up to 4096, else one drawn from each of 4096 even stretches.

        They depend on the size of the bank alone.
        """
        if len(self) <= SAMPLE:
            return np.arange(len(self))
        edges = np.arange(SAMPLE + 1, dtype=np.int64) * len(self) // SAMPLE
        place = torch.rand(SAMPLE, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).numpy()
        return edges[:-1] + (place * np.diff(edges)).astype(np.int64)

    def rows_of(self, content_hash: int) -> npt.NDArray[np.int64]:
        """Rows of the images with a content hash, ascending; found without reading the bank again."""
        return _rows_equal(self.tensors["content_hash"], self._by_hash, content_hash)

    def rows_of_group(self, group: int) -> npt.NDArray[np.int64]:
        """Rows of the images of a patient index, ascending."""
        return _rows_equal(self.tensors["group"], self._by_group, group)

    @cached_property
    def _by_hash(self) -> npt.NDArray[np.int32]:
        return np.argsort(np.asarray(self.tensors["content_hash"]), kind="stable").astype(np.int32)

    @cached_property
    def _by_group(self) -> npt.NDArray[np.int32]:
        return np.argsort(np.asarray(self.tensors["group"]), kind="stable").astype(np.int32)

    @property
    def profiles(self) -> torch.Tensor:
        """Radial power spectrum of every image, as :meth:`profiles_of`; as large as the bank, and read every time."""
        return self.profiles_of(slice(None))

    def profiles_of(self, indices: Sequence[int] | torch.Tensor | npt.NDArray[Any] | slice) -> torch.Tensor:
        """Radial power spectrum of images: log10 mean power on each ring, float32 (n, C, R).

        Equal to :func:`frerec.spectrum.power.radial_power` with ``window="periodic"`` for a single image; for a
        volume in a 2-D bank the log10 of the mean over its slices.
        """
        rows = self.tensors["ring_statistics"][indices if isinstance(indices, slice) else np.asarray(indices)]
        power = torch.from_numpy(np.array(rows[..., 1]))
        return fill_empty(power.clamp(min=POWER_FLOOR).log10())

    @property
    def mean_profile(self) -> torch.Tensor:
        """Log10 of the mean power of the bank's sample on each ring, float32 (C, R)."""
        return (10 ** self.profiles_of(self.sample).double()).mean(0).log10().float()

    def band_statistics(
        self, mask_ratio: float, bands: int = 1, log: bool = False, indices: Sequence[int] | torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the high-frequency amplitudes, per image, channel and band.

        Args:
            mask_ratio: radius where the high band begins, in fractions of Nyquist.
            bands: number of bands of equal width above it; 1 is the paper's single high band.
            log: statistics of log10 amplitude instead of amplitude.
            indices: which images; None for all.

        Returns:
            ``(mean, std)``, each float32 (N, C, bands).

        Raises:
            ConfigError: ``mask_ratio`` or ``bands`` is out of range.
        """
        rows = self.tensors["ring_statistics"]
        chosen = rows if indices is None else rows[np.asarray(indices)]
        statistics = torch.from_numpy(np.array(chosen))
        return aggregate_bands(statistics, self.counts, self.info.spatial_dims, mask_ratio, bands, log)

    def pixels(self, indices: Sequence[int] | torch.Tensor | slice) -> torch.Tensor:
        """Images of a bank of kind ``pixels`` as float32 (n, C, *spatial) in [0, 1].

        Raises:
            ConfigError: the bank holds statistics only.
        """
        if "pixels" not in self.tensors:
            raise ConfigError(
                "bank_path", str(self.path), "this reference bank holds statistics only, no pixels",
                "Retrieve by descriptor, or build a bank with kind=pixels",
            )  # fmt: skip
        stored = self.tensors["pixels"]
        chosen = stored[indices if isinstance(indices, slice) else np.asarray(indices)]
        return torch.from_numpy(chosen.astype(np.float32)).div_(PIXEL_SCALE[str(stored.dtype)])


def _add_all(builder: BankBuilder, images: Iterable[Any], groups: Iterable[int] | None) -> None:
    known = None if groups is None else list(groups)
    position = -1
    for position, image in enumerate(images):
        try:
            builder.add(image, -1 if known is None else known[position])
        except IndexError as error:
            raise FreRecError(f"there are more images than the {len(known or ())} groups. Give one each.") from error
        except FreRecError as error:
            raise FreRecError(f"image {position}: {error}") from error


def _rows_equal(values: Rows, order: npt.NDArray[np.int32], wanted: int) -> npt.NDArray[np.int64]:
    def value(row: int) -> int:
        return int(values[row])

    return order[bisect_left(order, wanted, key=value) : bisect_right(order, wanted, key=value)].astype(np.int64)


def _reopen(path: str, sha256: str) -> ReferenceBank:
    bank = ReferenceBank.open(path, verify=False)
    if bank.sha256 != sha256:
        raise InputError(path, "the reference bank was changed while in use", "Start the run again")
    return bank
