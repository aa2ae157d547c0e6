"""Replacing high frequencies: the mathematics of stage 1, and imposing a spectral profile afterwards.

All functions take one *object*: ``x`` is (B, C, *spatial) where B is 1 for an image or the number of slices of a
volume whose statistics are drawn once. Ring powers are those of the whole object, so slices keep the strength they
have relative to each other and nothing flickers. Everything is measured on the periodic component
(:func:`frerec.spectrum.fourier.periodic_spectrum`), and only the change of its high band is transformed back and added
to the image: the low band and the smooth component are never touched, not even by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F

from frerec.errors import ConfigError
from frerec.spectrum.bands import default_rings, hermitian_weights, radius
from frerec.spectrum.fourier import irfftn, periodic_spectrum
from frerec.spectrum.power import POWER_FLOOR

#: How far the power of a band is corrected at once, and in all, for what storing does to it.
CORRECTION, LARGEST_CORRECTION = 4.0, 100.0


class _Layout(NamedTuple):
    """Where the high band lies in the flat half-plane of one size."""

    #: Number of bands.
    bands: int
    #: Weight of each band, float64 (bands,).
    total: torch.Tensor
    #: Band of each coefficient, ``bands`` below the high band, int64 (n,).
    ring: torch.Tensor
    #: Weight of each coefficient (:func:`frerec.spectrum.bands.hermitian_weights`), float32 (n,).
    weights: torch.Tensor
    #: Every radius that occurs in the high band, once, float64 (m,); its band; the weight of all its coefficients.
    radii: torch.Tensor
    radius_band: torch.Tensor
    radius_weights: torch.Tensor


# the layout of a large volume takes as much memory as the volume
@lru_cache(maxsize=8)
def _layout(
    shape: tuple[int, ...],
    mask_ratio: float,
    bands: int | None,
    spacing: tuple[float, ...] | None,
    device: torch.device,
) -> _Layout:
    if not 0 < mask_ratio < 1:
        raise ConfigError(
            "mask_ratio", mask_ratio, "the high band begins between zero frequency and Nyquist",
            "Use a number above 0 and below 1; the paper uses 0.5",
        )  # fmt: skip
    if bands is not None and bands < 1:
        raise ConfigError("bands", bands, "there is at least one band", "Use 1 or more, or null for the finest")
    # a radius occurs at up to eight places and more, and all that depends on the radius is computed once for them
    radii, place = torch.unique(radius(shape, spacing).flatten(), return_inverse=True)
    low = int((radii < mask_ratio).sum())
    high = radii[low:].double()
    end = math.sqrt(len(shape))
    if bands is None:  # the rings of a radial power spectrum, the first one cut by the mask
        raw = (high * (default_rings(shape) / end) + 1e-6).floor().long()
    else:
        raw = ((high - mask_ratio) * (bands / (end - mask_ratio)) + 1e-6).floor().long().clamp_(max=bands - 1)
    # small images leave some rings without a coefficient: number only those that have one
    used, band = torch.unique(raw, return_inverse=True)
    weights = hermitian_weights(shape).flatten()
    shares = torch.zeros(len(radii), dtype=torch.float64).index_add_(0, place, weights.double())[low:]
    ring = torch.cat([torch.full((low,), len(used)), band])[place]
    total = torch.zeros(len(used), dtype=torch.float64).index_add_(0, band, shares)
    return _Layout(len(used), *(t.to(device) for t in (total, ring, weights, high, band, shares)))


class HighBand:
    """The high band of images of one size: measures and changes its coefficients.

    Args:
        shape: spatial size.
        mask_ratio: radius where the high band begins, in fractions of Nyquist, above 0 and below 1.
        bands: number of rings of equal width from there to the corners; None for one frequency step a ring.
        spacing: pixel size along each axis, as in :func:`frerec.spectrum.bands.radius`.
        device: where the images are.

    Attributes:
        count: number of bands.

    Raises:
        ConfigError: ``mask_ratio`` or ``bands`` is out of range.
    """

    def __init__(
        self,
        shape: Sequence[int],
        mask_ratio: float,
        bands: int | None = None,
        spacing: Sequence[float] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape = tuple(int(n) for n in shape)
        steps = None if spacing is None else tuple(float(s) for s in spacing)
        self._layout = _layout(self.shape, mask_ratio, bands, steps, torch.device(device))
        self.count = self._layout.bands

    def share(self, strength: float, transition: float, start: float) -> torch.Tensor:
        """Share of noise in each band, float64 (bands,): from 0 at radius ``start`` to ``strength``, smoothly.

        Args:
            strength: largest share.
            transition: width of the rise in fractions of Nyquist; 0 for ``strength`` everywhere.
            start: where the high band begins.
        """
        layout = self._layout
        centre = self._sums(layout.radii * layout.radius_weights, layout.radius_band) / layout.total
        t = ((centre - start) / transition).clamp_(0, 1) if transition > 0 else torch.ones_like(centre)
        return strength * t.square() * (3 - 2 * t)

    @property
    def inside(self) -> torch.Tensor:
        """Whether each coefficient of the flat half-plane belongs to the high band, bool (n,)."""
        return self._layout.ring < self.count

    def spectrum(self, x: torch.Tensor) -> torch.Tensor:
        """Flat half-plane spectrum (..., n) of the periodic component of ``x`` (..., *shape)."""
        return periodic_spectrum(x, len(self.shape)).flatten(-len(self.shape))

    def add(self, x: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """``x`` (..., *shape) with a change (..., n) of its flat half-plane spectrum; real, where that is Hermitian."""
        half = (*self.shape[:-1], self.shape[-1] // 2 + 1)
        return irfftn(change.unflatten(-1, half), self.shape).add_(x)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Weighted mean over each band of real values (..., n) of the flat half-plane: float64 (..., bands)."""
        return self._sums(values.double() * self._layout.weights, self._layout.ring) / self._layout.total

    def power(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Mean squared modulus of each band of a flat half-plane spectrum (..., n), float64 (..., bands)."""
        return self.mean(spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag))

    def spread(self, per_band: torch.Tensor, outside: float = 0.0) -> torch.Tensor:
        """Values per band (..., bands) at every coefficient (..., n), and ``outside`` below the high band."""
        padded = F.pad(per_band, (0, 1), value=outside)
        # gathering is four times faster than indexing
        return padded.gather(-1, self._layout.ring.expand(*padded.shape[:-1], -1))

    def target_power(self, profile: torch.Tensor) -> torch.Tensor:
        """Power each band has under a radial profile, linear in log power between the centres of the profile's rings.

        Args:
            profile: log10 mean power (C, R) on rings of equal width over radius 0 to sqrt(ndim), of an image of any
                size: an orthonormal transform makes the power of a texture independent of the size.

        Returns:
            float64 (C, bands).
        """
        n, layout = profile.shape[-1], self._layout
        values = profile.to(layout.radii.device).double()
        position = (layout.radii * (n / math.sqrt(len(self.shape))) - 0.5).clamp_(0, n - 1)
        below = position.long().clamp_(max=max(n - 2, 0))
        above = (below + 1).clamp_(max=n - 1)
        log = torch.lerp(values[..., below], values[..., above], position - below)
        # 2 to the power of log / log(2) is several times faster than 10 to the power of log
        power = torch.exp2(log * math.log2(10))
        return self._sums(power * layout.radius_weights, layout.radius_band) / layout.total

    def _sums(self, values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        sums = torch.zeros(*values.shape[:-1], self.count + 1, dtype=torch.float64, device=values.device)
        return sums.index_add_(-1, index, values)[..., : self.count]


def _unit(power: torch.Tensor) -> torch.Tensor:
    """Factor that brings a band of this power to power 1; 0 for a band with nothing but rounding in it."""
    return torch.where(power > POWER_FLOOR, power.clamp(min=POWER_FLOOR).rsqrt(), 0.0)


def replace_high_frequencies(
    x: torch.Tensor,
    profile: torch.Tensor,
    band: HighBand,
    strength: float | torch.Tensor,
    noise: torch.Tensor,
    max_gain: float = math.inf,
) -> torch.Tensor:
    """Mix the high frequencies with noise and give them the power of a drawn profile, exactly.

    Per band the object's own coefficients and the noise's are brought to power 1, mixed with weights
    sqrt(1 - strength^2) and ``strength``, brought to power 1 again and scaled to the profile. Noise enters as the
    transform of a real white field, so it is Hermitian and a real image comes back real. This is our reading of
    step 4 of the paper's stage 1: rescaling amplitudes alone (:func:`rescale_amplitudes`) leaves almost nothing
    for stage 2 to restore.

    Args:
        x: (B, C, *spatial), one object, nominal range [0, 1].
        profile: (C, R) drawn log10 power, as in :meth:`HighBand.target_power`.
        band: the high band of images of this size.
        strength: share of noise, 0 (phases kept, powers imposed) to 1 (noise only), for all bands or one for each.
        noise: real white noise of the shape of ``x``.
        max_gain: how far the object's own amplitudes may be raised. What a band lacks beyond that is filled up with
            noise: where a generator left next to nothing, that little is no anatomy, and raised to full power it is
            rings and lattices.

    Returns:
        float32 tensor of the shape of ``x``.
    """
    own, drawn = band.spectrum(x), band.spectrum(noise)
    own_power, target = band.power(own), band.target_power(profile)
    object_power = own_power.mean(0, keepdim=True)
    kept = (1 - torch.as_tensor(strength, dtype=torch.float64, device=x.device).square()).sqrt()
    if math.isfinite(max_gain):
        kept = torch.minimum(kept, max_gain * (object_power / target).sqrt())
    share = (1 - kept.square()).sqrt()
    # below the high band the mixture is the object's own, which the change then leaves as it is
    mixed = own * band.spread((kept * _unit(own_power)).float(), outside=1.0)
    mixed += drawn.mul_(band.spread((share * _unit(band.power(drawn))).float()))
    # each slice keeps its share of the object's power; a band empty everywhere is filled evenly
    part = torch.where(object_power > POWER_FLOOR, own_power / object_power.clamp(min=POWER_FLOOR), 1.0)
    gain = (part * target).sqrt() * _unit(band.power(mixed))
    return band.add(x, mixed.mul_(band.spread(gain.float(), outside=1.0)).sub_(own))


def impose_profile(
    x: torch.Tensor,
    profile: torch.Tensor,
    band: HighBand,
    store: Callable[[torch.Tensor], torch.Tensor] | None = None,
    rounds: int = 3,
) -> torch.Tensor:
    """Scale each band of the high frequencies so that the object's power is exactly that of a profile; phases stay.

    Args:
        x: (B, C, *spatial), one object.
        profile: (C, R) log10 power, as in :meth:`HighBand.target_power`.
        band: the high band of images of this size.
        store: what a file will do to the values, such as clipping and rounding. It changes powers too, rounding above
            all: where real images have hardly more power than their own rounding, ours would come on top. Then what is
            imposed is corrected ``rounds`` times by what storing makes of it.
        rounds: number of corrections.

    Returns:
        float32 tensor of the shape of ``x``, not yet stored; a band that holds nothing but rounding stays as it is.
    """
    own = band.spectrum(x)
    factor = _unit(band.power(own).mean(0, keepdim=True))
    target = wanted = band.target_power(profile)

    def imposed() -> torch.Tensor:
        gain = torch.where(factor > 0, wanted.sqrt() * factor, 1.0)
        return band.add(x, own * band.spread((gain - 1).float()))

    y = imposed()
    if store is None or torch.equal(store(y), y):
        return y
    for _ in range(rounds):
        got = band.power(band.spectrum(store(y))).mean(0)
        correction = (target / got.clamp(min=POWER_FLOOR)).clamp(1 / CORRECTION, CORRECTION)
        wanted = (wanted * correction).clamp(min=target / LARGEST_CORRECTION, max=target * LARGEST_CORRECTION)
        y = imposed()
    return y


def rescale_amplitudes(
    x: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, band: HighBand, strength: float = 1.0
) -> torch.Tensor:
    """The paper's step 4 read literally, on amplitudes: |F| <- std (|F| - mu) / sigma + mean, phases kept.

    Args:
        x: (B, C, *spatial), one object, nominal range [0, 1].
        mean: (C, bands) drawn mean amplitude.
        std: (C, bands) drawn standard deviation of the same.
        band: the high band of images of this size, with as many bands.
        strength: share of the rescaled coefficients, 0 to 1, the rest is the object's own.

    Returns:
        float32 tensor of the shape of ``x``.
    """
    own = band.spectrum(x)
    amplitude = own.abs().double().clamp(min=math.sqrt(POWER_FLOOR))
    mu = band.mean(amplitude).mean(0, keepdim=True)
    sigma = (band.mean(amplitude.square()).mean(0, keepdim=True) - mu.square()).clamp(min=1e-20).sqrt()
    new = band.spread(std) * (amplitude - band.spread(mu)) / band.spread(sigma, outside=1.0) + band.spread(mean)
    factor = strength * (new.clamp(min=0) / amplitude - 1) * band.inside
    return band.add(x, own * factor.float())
