"""Fourier basics: transforms, rings and bands, radial power. Knows nothing of files or networks."""

from frerec.spectrum.bands import hermitian_weights, high_mask, radius, ring_edges, ring_index, ring_mean
from frerec.spectrum.fourier import irfftn, periodic_plus_smooth, periodic_spectrum, rfftn
from frerec.spectrum.power import radial_power, ring_frequencies, spectral_gap

__all__ = [
    "hermitian_weights",
    "high_mask",
    "irfftn",
    "periodic_plus_smooth",
    "periodic_spectrum",
    "radial_power",
    "radius",
    "rfftn",
    "ring_edges",
    "ring_frequencies",
    "ring_index",
    "ring_mean",
    "spectral_gap",
]
