"""Stage 1 as transforms of single images: statistical high-frequency replacement, and imposing the drawn profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from frerec.errors import ConfigError, FreRecError
from frerec.io.records import note
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.noise import correlate_slices, seed_of, white_noise
from frerec.shr.replacement import HighBand, impose_profile, replace_high_frequencies, rescale_amplitudes
from frerec.shr.retrieval.retriever import Retriever
from frerec.shr.statistics import batch_as_slices, content_hash, slices_as_batch

MODES = ("replace", "amplitude")
CACHED_QUERIES = 4096


def _normal_draw(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One draw from the Gaussian over the first axis of ``values`` (K, ...): mean and standard deviation of each."""
    values = values.double()
    return values.mean(0) + values.std(0) * torch.randn(values.shape[1:], generator=generator)


class _Remembered:
    """What was found for the latest queries by SSIM: training and an interactive client ask again and again.

    One table, because thousands of small tensors between large ones keep the memory of those from being given back.
    """

    def __init__(self, top_k: int) -> None:
        self._rows: dict[tuple[int, int | None, int | None], int] = {}
        self._table = torch.zeros(0, top_k, dtype=torch.int64)

    def get(self, key: tuple[int, int | None, int | None]) -> torch.Tensor | None:
        return self._table[self._rows[key]] if key in self._rows else None

    def put(self, key: tuple[int, int | None, int | None], found: torch.Tensor) -> torch.Tensor:
        if not len(self._table):
            self._table = self._table.new_zeros(CACHED_QUERIES, len(found))
        row = len(self._rows)
        if row == CACHED_QUERIES:
            row = self._rows.pop(next(iter(self._rows)))
        self._rows[key] = row
        self._table[row] = found
        return found


def _open(bank: ReferenceBank | str | PathLike[str]) -> ReferenceBank:
    return bank if isinstance(bank, ReferenceBank) else ReferenceBank.open(bank)


class StatisticalHighFrequencyReplacement(Transform):
    """Stage 1 of FreRec: replace an image's high frequencies by ones with statistics of similar real images.

    Every random draw is seeded by ``seed`` and the image's content, so batch, order, worker and shard do not matter.
    A volume (C, H, W, D) that meets a 2-D bank is one object: one retrieval, one drawn profile, a noise field a slice,
    as like its neighbours as the slices are.

    Source: paper, stage 1 (SHR), steps 1 to 4. What it leaves open and we chose is in docs/explanation/method.md.

    Args:
        bank: the reference bank, or its path.
        mask_ratio: radius where the high band begins, in fractions of Nyquist (paper 0.5).
        top_k: number of similar real images whose statistics are drawn from (paper 200; ours 5, because a
            third of a bank of 600 is hardly more similar than a random image).
        bands: rings of the high band that get a power of their own; 1 is the paper's single band, None one ring for
            each frequency step (in the modes that rescale amplitudes, None is 1).
        strength: 0 leaves the image exactly as it is. In mode ``replace`` the share of noise that is mixed in, in the
            other modes the share of the rescaled coefficients.
        transition: width, in fractions of Nyquist, over which the share of noise rises from 0 at ``mask_ratio`` to
            ``strength`` in mode ``replace``; 0 for the paper's step.
        mode: ``replace`` mixes with noise and imposes the profile of one of the ``top_k``; ``amplitude`` is the literal
            reading of the paper: amplitudes rescaled to a drawn mean and standard deviation.
        method: how similar images are found, see :class:`frerec.shr.retrieval.retriever.Retriever`.
        seed: seed of all draws.
        max_gain: for ``replace``: how far own amplitudes are raised at most; what lacks beyond is filled with noise.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        bank: ReferenceBank | str | PathLike[str],
        mask_ratio: float = 0.1,
        top_k: int = 5,
        bands: int | None = None,
        strength: float = 1.0,
        mode: str = "replace",
        method: str = "descriptor",
        seed: int = 0,
        transition: float = 0.1,
        max_gain: float = 2.0,
    ) -> None:
        if max_gain < 1:
            raise ConfigError("max_gain", max_gain, "own amplitudes would be lowered", "Use 1 or more")
        if transition < 0:
            raise ConfigError("transition", transition, "it is a width", "Use 0 or more, in fractions of Nyquist")
        if not 0 <= strength <= 1:
            raise ConfigError("strength", strength, "it is a share", "Use a number from 0 to 1")
        if mode not in MODES:
            raise ConfigError("mode", mode, "unknown mode of replacement", f"Use one of {', '.join(MODES)}")
        self.bank = _open(bank)
        self.retriever = Retriever(self.bank, method=method, top_k=top_k)
        self.mask_ratio, self.top_k, self.strength, self.transition = mask_ratio, top_k, strength, transition
        self.max_gain = max_gain
        self.bands = 1 if bands is None and mode != "replace" else bands
        self.mode, self.method, self.seed = mode, method, seed
        self._found = _Remembered(top_k)

    def settings(self) -> dict[str, Any]:
        """Everything that decides the result beside the image, as plain values."""
        names = ("mask_ratio", "top_k", "bands", "strength", "transition", "max_gain", "mode", "method", "seed")
        return {**{name: getattr(self, name) for name in names}, "bank_sha256": self.bank.sha256}

    def __call__(
        self,
        image: torch.Tensor,
        exclude_hash: int | None = None,
        exclude_group: int | None = None,
        strength: float | None = None,
        mask_ratio: float | None = None,
        draw: int = 0,
        transition: float | None = None,
        profile: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Replace the high frequencies of one image or volume.

        Args:
            image: (C, *spatial), nominal range [0, 1].
            exclude_hash: a further bank image to leave out, see :class:`frerec.shr.retrieval.retriever.Retriever`.
            exclude_group: patient index whose bank images are left out; None for that of the image itself where the
                bank holds it.
            strength: in place of the transform's own, for training over a range of strengths.
            mask_ratio: likewise.
            draw: number of the draw, for another sample of the same image.
            transition: in place of the transform's own.
            profile: log10 power (C, R) to impose in mode ``replace``, in place of a drawn one; the bank is not asked.

        Returns:
            MetaTensor (C, *spatial) float32, whose record (:class:`frerec.io.records.Applied`) tells the settings with
            the drawn bank image (``shr``), the ``profile`` to impose after stage 2 and its ``spacing``.

        Raises:
            FreRecError: channels or dimensions do not fit the bank, or values are not finite.
        """
        strength = self.strength if strength is None else strength
        mask_ratio = self.mask_ratio if mask_ratio is None else mask_ratio
        transition = self.transition if transition is None else transition
        x = torch.as_tensor(image).float()
        result = MetaTensor(x, meta=dict(getattr(image, "meta", {})))
        # a 3-D bank meets anisotropic volumes; within slices pixels are taken as square
        volumes = self.bank.info.spatial_dims == 3
        spacing = tuple(float(p) for p in result.pixdim[: x.ndim - 1]) if volumes else ()
        used = {"strength": strength, "mask_ratio": mask_ratio, "transition": transition}
        applied: dict[str, Any] = {**self.settings(), **used}
        imposed = torch.zeros(0)
        if strength > 0:
            plain = x.as_tensor() if isinstance(x, MetaTensor) else x
            self._check(plain)
            fingerprint = content_hash(plain)
            indices = self._similar(plain, fingerprint, exclude_hash, exclude_group) if profile is None else None
            replaced, imposed, applied["drawn"] = self._replace(
                plain, fingerprint, indices, profile, strength, mask_ratio, transition, spacing, draw
            )
            result = MetaTensor(replaced, meta=dict(result.meta))
        note(result, shr=applied, profile=imposed, spacing=spacing)
        return result

    def _check(self, x: torch.Tensor) -> None:
        if x.shape[0] != self.bank.info.channels:
            raise FreRecError(
                f"the image has {x.shape[0]} channels and the reference bank {self.bank.info.channels}. "
                "Use a bank built from images of the same kind, or set channels."
            )
        if not all(math.isfinite(value) for value in torch.aminmax(x)):
            raise FreRecError("the image holds NaN or infinite values. Repair or leave out the file.")

    def _replace(
        self,
        x: torch.Tensor,
        fingerprint: int,
        indices: torch.Tensor | None,
        profile: torch.Tensor | None,
        strength: float,
        mask_ratio: float,
        transition: float,
        spacing: tuple[float, ...],
        draw: int,
    ) -> tuple[torch.Tensor, torch.Tensor, int | None]:
        batch = slices_as_batch(x, self.bank.info.spatial_dims)
        generator = torch.Generator().manual_seed(seed_of(self.seed, fingerprint, -1 - draw))
        chosen = 0 if indices is None else int(torch.randint(len(indices), (), generator=generator))
        band = HighBand(batch.shape[2:], mask_ratio, self.bands, spacing or None, batch.device)
        if self.mode == "replace":
            if profile is None:
                assert indices is not None
                profile = self.bank.profiles_of(indices[chosen : chosen + 1])[0]
            seeds = [seed_of(self.seed, fingerprint, draw * 100_003 + i) for i in range(len(batch))]
            noise = correlate_slices(white_noise(batch.shape[1:], seeds, batch.device), batch, band)
            share = band.share(strength, transition, mask_ratio)
            out = replace_high_frequencies(batch, profile, band, share, noise, self.max_gain)
        else:
            profile = torch.zeros(0)
            mean, std = self.bank.band_statistics(mask_ratio, band.count, indices=indices)
            mean, std = _normal_draw(mean, generator), _normal_draw(std, generator).clamp(min=0)
            out = rescale_amplitudes(batch, mean, std, band, strength)
        return batch_as_slices(out.float(), x.ndim), profile, None if indices is None else int(indices[chosen])

    def _similar(
        self, x: torch.Tensor, fingerprint: int, exclude_hash: int | None, exclude_group: int | None
    ) -> torch.Tensor:
        if exclude_group is None:
            own = self.bank.rows_of(fingerprint if exclude_hash is None else exclude_hash)
            exclude_group = int(self.bank.tensors["group"][own[-1]]) if len(own) else None
        if not self.method.startswith("ssim"):  # as fast as looking up what was found before
            return self.retriever(x, exclude_hash, exclude_group, fingerprint)[0]
        key = (fingerprint, exclude_hash, exclude_group)
        found = self._found.get(key)
        return (
            self._found.put(key, self.retriever(x, exclude_hash, exclude_group, fingerprint)[0])
            if found is None
            else found
        )


class ImposeProfile(Transform):
    """Give stage 2's output exactly the profile that stage 1 drew, keeping its phases.

    A restoration network changes ring powers again (it shrinks what it is unsure of); a detector finds that at once.
    So does what the file cannot store: clipping changes smooth generated images with a black background more than real
    ones, and rounding adds to frequencies where real images have little more than their own. Where limits and steps are
    known, the profile is that of the stored image. Not in the paper; our choice, see docs/explanation/method.md.

    Args:
        mask_ratio: as in :class:`StatisticalHighFrequencyReplacement`.
        bands: likewise.
        spatial_dims: 2 or 3, of the bank: with 2 a volume is imposed on as one stack of slices.
    """

    def __init__(self, mask_ratio: float = 0.1, bands: int | None = None, spatial_dims: int = 2) -> None:
        self.mask_ratio, self.bands, self.spatial_dims = mask_ratio, bands, spatial_dims

    def __call__(  # type: ignore[override]
        self,
        image: torch.Tensor,
        profile: torch.Tensor,
        spacing: Sequence[float] = (),
        limits: tuple[float, float] = (-math.inf, math.inf),
        step: float = 0.0,
    ) -> torch.Tensor:
        """Impose.

        Args:
            image: (C, *spatial), nominal range [0, 1].
            profile: (C, R) as stage 1 drew it; of size 0 to leave the image as it is.
            spacing: along each axis, likewise; empty for equal spacing.
            limits: smallest and largest value that can be stored, on the scale of ``image``.
            step: between neighbouring values that can be stored, on that scale; 0 where values are not rounded.

        Returns:
            float32 tensor of the shape of ``image``. It may exceed ``limits``.
        """
        profile = torch.as_tensor(profile)
        if profile.numel() == 0:
            return image
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        batch = slices_as_batch(plain.float(), self.spatial_dims)
        band = HighBand(batch.shape[2:], self.mask_ratio, self.bands, spacing or None, batch.device)

        def store(values: torch.Tensor) -> torch.Tensor:
            if step > 0:
                origin = limits[0] if math.isfinite(limits[0]) else 0.0
                values = ((values - origin) / step).round() * step + origin
            return values.clamp(*limits)

        return batch_as_slices(impose_profile(batch, profile, band, store), image.ndim)
