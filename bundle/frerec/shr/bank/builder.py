"""Turning real images into the tensors of a reference bank, one image at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from frerec.errors import ConfigError, FreRecError
from frerec.shr.bank.info import KINDS, BankInfo
from frerec.shr.retrieval.descriptor import descriptor
from frerec.shr.retrieval.windows import local_moments
from frerec.shr.statistics import content_hash, ring_statistics, slices_as_batch
from frerec.spectrum.bands import default_rings

#: Stored type of pixels and the value that stands for 1.0.
PIXEL_SCALE = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0}


class BankBuilder:
    """Collects what a reference bank keeps of each image.

    Args:
        info: header of a bank to add to, or None to take it from the first image and the arguments below.
        kind: ``statistics`` or ``pixels``.
        spatial_dims: 2 or 3; volumes added to a 2-D bank count as one entry, the mean over their slices.
        n_rings: rings of the statistics; None for one frequency step a ring.
        pixel_dtype: how a bank of kind ``pixels`` stores them: ``uint8``, ``uint16`` or ``float16``.
        settings: any other field of :class:`BankInfo`.
    """

    def __init__(
        self,
        info: BankInfo | None = None,
        kind: str = "statistics",
        spatial_dims: int = 2,
        n_rings: int | None = None,
        pixel_dtype: str = "uint8",
        **settings: Any,
    ) -> None:
        if pixel_dtype not in PIXEL_SCALE:
            raise ConfigError("pixel_dtype", pixel_dtype, "unknown type", f"Use one of {', '.join(PIXEL_SCALE)}")
        if kind not in KINDS:
            raise ConfigError("kind", kind, "unknown kind of reference bank", f"Use one of {', '.join(KINDS)}")
        if spatial_dims not in (2, 3):
            raise ConfigError("spatial_dims", spatial_dims, "images have 2 or 3 dimensions", "Use 2 or 3")
        self.info = info
        self._new = {"kind": kind, "spatial_dims": spatial_dims, "n_rings": n_rings, **settings}
        self._pixel_dtype = pixel_dtype
        #: 2 or 3.
        self.spatial_dims = info.spatial_dims if info else spatial_dims
        self._spools: dict[str, _Spool] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, image: npt.ArrayLike | torch.Tensor, group: int = -1, spacing: Sequence[float] | None = None) -> None:
        """Add one image.

        Args:
            image: (C, *spatial), real, normalised to [0, 1].
            group: which images belong together (one patient), 0 or more; -1 where that is unknown.
            spacing: pixel size along each axis of a 3-D bank's volume; None for that of the first, or none.

        Raises:
            FreRecError: not finite, constant, not normalised, or of another shape or anisotropy than the bank's.
        """
        x = torch.as_tensor(np.asarray(image, dtype=np.float32))
        self._check_values(x)
        batch = slices_as_batch(x, self.spatial_dims)
        if self.info is None:
            shape = tuple(batch.shape[2:])
            settings = {**self._new, "n_rings": self._new["n_rings"] or default_rings(shape)}
            if spacing is not None:
                settings["spacing"] = _relative(spacing)
            self.info = BankInfo(channels=batch.shape[1], image_size=shape, **settings)
        info = self.info
        check_fit(info, batch)
        if spacing is not None:
            _check_spacing(info, spacing)
        if info.kind == "pixels" and len(batch) > 1:
            raise ConfigError(
                "kind", info.kind, "a volume in a 2-D bank is a mean over slices and has no pixels",
                "Use kind=statistics, or spatial_dims=3",
            )  # fmt: skip
        rows = {
            "ring_statistics": ring_statistics(batch, info.spatial_dims, info.n_rings, info.spacing).mean(0).numpy(),
            "descriptors": descriptor(batch, info.spatial_dims, info.descriptor).mean(0).numpy(),
            "content_hash": np.array(content_hash(x), dtype=np.int64),
            "group": np.array(group, dtype=np.int32),
        }
        if info.kind == "pixels":
            rows |= self._pixel_rows(info, batch.clamp(0, 1))
        for name, row in rows.items():
            self._spools.setdefault(name, _Spool(row.shape, row.dtype)).append(row)
        self._count += 1

    def _pixel_rows(self, info: BankInfo, batch: torch.Tensor) -> dict[str, npt.NDArray[Any]]:
        scaled = batch[0].numpy() * PIXEL_SCALE[self._pixel_dtype]
        rounded = scaled if self._pixel_dtype == "float16" else np.rint(scaled)
        return {
            "pixels": rounded.astype(self._pixel_dtype),
            "windows": local_moments(batch, info.spatial_dims)[0].half().numpy(),
        }

    @staticmethod
    def _check_values(x: torch.Tensor) -> None:
        if not torch.isfinite(x).all():
            raise FreRecError("the image holds NaN or infinite values. Repair or leave out this image.")
        low, high = float(x.min()), float(x.max())
        if low == high:
            raise FreRecError(f"the image is constant ({low:g}). Leave it out: it has no spectrum to learn from.")
        if low < -0.5 or high > 1.5:
            raise FreRecError(
                f"the image ranges from {low:g} to {high:g}, not over [0, 1]. "
                "Normalise it first (frerec.io.intensity.NormalizeRange)."
            )

    def finish(self) -> tuple[BankInfo, dict[str, npt.NDArray[Any]]]:
        """The header, and the tensors of the images added so far.

        Raises:
            FreRecError: none was added.
        """
        if self.info is None or not len(self):
            raise FreRecError("a reference bank needs at least one image, none was given. Check real_dir or datalist.")
        return self.info, {name: spool.array() for name, spool in self._spools.items()}


class _Spool:
    """Rows of a tensor, waiting on disk because those of a large bank exceed memory."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._shape, self._dtype, self._count = shape, dtype, 0
        self._file = tempfile.TemporaryFile(prefix="frerec-bank-")  # noqa: SIM115 - lives as long as the builder

    def append(self, row: npt.NDArray[Any]) -> None:
        self._file.write(np.ascontiguousarray(row).data)
        self._count += 1

    def array(self) -> npt.NDArray[Any]:
        self._file.flush()
        return np.memmap(self._file, self._dtype, "r", 0, (self._count, *self._shape))


def _relative(spacing: Sequence[float]) -> tuple[float, ...]:
    # radii are fractions of the finest axis's Nyquist frequency, so only ratios matter
    return tuple(round(float(step) / min(spacing), 4) for step in spacing)


def _check_spacing(info: BankInfo, spacing: Sequence[float]) -> None:
    known = _relative(info.spacing or (1.0,) * info.spatial_dims)
    found = _relative(spacing)
    if len(found) != len(known) or max(abs(a / b - 1) for a, b in zip(found, known, strict=True)) > 0.1:
        raise FreRecError(
            f"the volume's spacing is as {found}, the reference bank's as {known}. Resample the volume to that ratio."
        )


def check_fit(info: BankInfo, batch: torch.Tensor) -> None:
    """Raise FreRecError where images (B, C, *spatial) have other channels or another size than the bank's."""
    channels, size = batch.shape[1], tuple(batch.shape[2:])
    if channels != info.channels:
        raise FreRecError(
            f"the image has {channels} channel(s), the reference bank {info.channels}. "
            "Use a bank built from images of the same kind, or convert the image."
        )
    if size != tuple(info.image_size):
        raise FreRecError(
            f"the image is of size {size}, the reference bank's are {tuple(info.image_size)}. "
            "Resize the image first (image_size in configs/build_bank.json)."
        )
