"""A description of an image's low frequencies without phases, for retrieval from a bank without pixels."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache

import torch

from frerec.errors import ConfigError
from frerec.spectrum.bands import hermitian_weights, radius, ring_mean
from frerec.spectrum.fourier import periodic_spectrum
from frerec.spectrum.power import POWER_FLOOR


@dataclass(frozen=True)
class DescriptorSettings:
    """How the phase-free retrieval descriptor is laid out.

    Attributes:
        cut: radius (fraction of Nyquist) above which nothing enters, so that a generator's wrong high band does
            not steer the retrieval.
        rings: number of rings, of equal width in log radius, from the first frequency step to ``cut``.
        sectors: number of orientation sectors of each ring (2-D only; volumes have 3, by the dominant axis).
    """

    cut: float = 0.25
    rings: int = 16
    sectors: int = 6

    def __post_init__(self) -> None:
        if not 0 < self.cut <= 1 or self.rings < 1 or self.sectors < 1:
            raise ConfigError(
                "descriptor", asdict(self), "cut is above 0 and at most 1, rings and sectors at least 1",
                "Leave it out for the default",
            )  # fmt: skip


def descriptor(x: torch.Tensor, spatial_dims: int, settings: DescriptorSettings) -> torch.Tensor:
    """Phase-free description of the low frequencies of images, for retrieval without pixels.

    Per channel: log10 mean power on each cell of a polar grid over the low frequencies, the mean intensity and
    the standard deviation of the low-passed intensity.

    Args:
        x: (B, C, *spatial), nominal range [0, 1].
        spatial_dims: 2 or 3.
        settings: the polar grid.

    Returns:
        float32 (B, C * (cells + 2)); the number of cells depends on the image size only.

    Raises:
        ConfigError: no frequency lies below ``settings.cut``.
    """
    shape = tuple(x.shape[-spatial_dims:])
    cell, n_cells = _polar_cells(shape, settings)
    power = periodic_spectrum(x.double(), spatial_dims).abs().square()
    weights = hermitian_weights(shape)
    # index n_cells collects everything outside the grid
    grid = ring_mean(power, cell, weights, n_cells + 1)[..., :n_cells].clamp(min=POWER_FLOOR).log10()
    low = ((cell < n_cells) * weights).double()
    spread = (power * low).flatten(2).sum(-1).div(math.prod(shape)).sqrt()
    mean = x.double().flatten(2).mean(-1)
    return torch.cat([grid, mean.unsqueeze(-1), spread.unsqueeze(-1)], dim=-1).flatten(1).float()


def blur_direction(shape: tuple[int, ...], channels: int, settings: DescriptorSettings) -> torch.Tensor:
    """How a Gaussian blur moves the descriptor.

    A blur of standard deviation s multiplies the power at radius r by exp(-(pi s r)^2): it takes from every log
    power a multiple of r^2, whatever s. Leaving out this one direction makes retrieval indifferent to how sharp
    the query is, which a generator gets wrong.

    Args:
        shape: spatial size of the images.
        channels: their number of channels.
        settings: layout of the descriptor.

    Returns:
        float64 (D,): mean squared radius of each cell, 0 for the intensities.
    """
    cell, n_cells = _polar_cells(tuple(shape), settings)
    squared = ring_mean(radius(shape).double().square(), cell, hermitian_weights(shape), n_cells + 1)[:n_cells]
    return torch.cat([squared, torch.zeros(2, dtype=torch.float64)]).repeat(channels)


@lru_cache(maxsize=16)
def _polar_cells(shape: tuple[int, ...], settings: DescriptorSettings) -> tuple[torch.Tensor, int]:
    """Cell of each half-plane coefficient, numbered without gaps, and the number of cells."""
    r = radius(shape).double()
    start = 2 / max(shape)
    inside = (r > 0) & (r < settings.cut)
    span = math.log(max(settings.cut / start, 1 + 1e-9))
    ring = ((r / start).clamp(min=1).log() / span * settings.rings + 1e-6).floor().long().clamp(max=settings.rings - 1)
    if not inside.any():
        raise ConfigError(
            "descriptor.cut", settings.cut, f"an image of size {shape} has no frequency below it", "Use a larger cut"
        )
    axes = [torch.fft.fftfreq(n).double() for n in shape[:-1]] + [torch.fft.rfftfreq(shape[-1]).double()]
    steps = torch.meshgrid(*axes, indexing="ij")
    if len(shape) == 2:
        angle = torch.atan2(steps[0], steps[1]) / math.pi
        # sectors are centred on the axes, where anatomy has its edges
        sector = ((angle * settings.sectors + 0.5 + 1e-6).floor() % settings.sectors).long()
    else:
        sector = torch.stack([s.abs() for s in steps]).argmax(0)
    label = torch.where(inside, ring * (sector.max() + 1) + sector, -1)
    used = torch.unique(label[inside])
    cell = torch.searchsorted(used, label.clamp(min=0))
    return torch.where(inside, cell, len(used)), len(used)


class BlurFreeSpace:
    """Descriptors standardised over the bank, less the direction in which a blur moves them.

    Args:
        descriptors: float (N, D) of the bank.
        direction: float64 (D,) from :func:`blur_direction`.
    """

    def __init__(self, descriptors: torch.Tensor, direction: torch.Tensor) -> None:
        table = descriptors.double()
        self._mean = table.mean(0)
        self._scale = table.std(0, correction=0).clamp(min=1e-6)
        self._blur = direction.double() / self._scale
        self._blur = self._blur / self._blur.norm().clamp(min=1e-12)

    def __call__(self, descriptors: torch.Tensor) -> torch.Tensor:
        """Map descriptors (..., D) to float64 (..., D)."""
        z = (descriptors.double() - self._mean) / self._scale
        return z - (z @ self._blur).unsqueeze(-1) * self._blur

    def squared_distances(self, descriptors: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """Estimate how far descriptors lie from one of them, in single precision and a few passes.

        Args:
            descriptors: float32 (N, D).
            query: float32 (D,).

        Returns:
            float32 (N,): squared Euclidean distance in this space.
        """
        # what is near is subtracted without loss before anything is scaled
        difference = (descriptors - query).mul_(self._scale.reciprocal().float())
        along = difference @ self._blur.float()
        return torch.linalg.vector_norm(difference, dim=1).square_().sub_(along.square_())
