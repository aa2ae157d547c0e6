"""Ringing in single images: oscillations beside strong edges, and energy along the borders of the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

Array = NDArray[np.floating]

#: What :func:`ringing` measures, in its order.
RINGING = ("edges", "borders")
#: Reach of the profiles across an edge, and pixels beside the edge that belong to the edge itself.
REACH, CORE = 16, 4
#: Depth of the strip along the borders, in pixels, and where the inside it is held against begins and ends.
STRIP, INSIDE = 8, (12, 36)
#: Least side of an image that has edges away from its borders.
SMALLEST = 64
# Of the steepest pixels: their share of the image, and how many of them are followed.
_SHARE, _EDGES = 0.02, 1500
# Power relative to the edge's height squared, and of second differences of rounding to 8 bit: nothing is seen below
_FLOORS = (1e-6, 8e-6)


def ringing(image: Array) -> NDArray[np.float64]:
    """Ringing of one image, as a sharp cut in the spectrum leaves it.

    Args:
        image: (C, H, W) on a nominal [0, 1] range; channels are averaged.

    Returns:
        float64 (2,): ``edges`` and ``borders``, both log10, NaN where the image is below :data:`SMALLEST` pixels or has
        no edge. ``edges``: profiles across the strongest edges, all turned the same way, are averaged; noise and
        texture cancel, what oscillates at a fixed distance from the edge does not. The power that a Gaussian high-pass
        leaves of the mean profile beside the edge, over the edge's height squared. ``borders``: squared second
        differences at right angles to the border, in a strip along it, over those further inside.
    """
    plane = np.asarray(image, dtype=np.float64).mean(0)
    if min(plane.shape) < SMALLEST:
        return np.full(2, np.nan)
    return np.array([_beside_edges(plane), _along_borders(plane)])


def _beside_edges(plane: NDArray[np.float64]) -> float:
    down, across = (gaussian_filter(plane, 1, order=order) for order in ((1, 0), (0, 1)))
    steepness = np.hypot(down, across)
    inside = (slice(REACH, -REACH),) * 2
    limit = np.quantile(steepness[inside], 1 - _SHARE)
    rows, columns = np.nonzero(steepness[inside] >= max(limit, 1e-6))
    if not len(rows):
        return float("nan")
    some = np.linspace(0, len(rows) - 1, min(len(rows), _EDGES)).round().astype(int)
    rows, columns = rows[some] + REACH, columns[some] + REACH
    along = np.arange(-REACH, REACH + 1)
    direction = np.stack([down[rows, columns], across[rows, columns]]) / steepness[rows, columns]
    places = np.stack([rows, columns])[..., None] + direction[..., None] * along
    profile = map_coordinates(plane, places, order=3, mode="nearest").mean(0)
    beside = (np.abs(along) > CORE) & (np.abs(along) < REACH - 2)
    rest = (profile - gaussian_filter1d(profile, 2, mode="nearest"))[beside]
    return float(np.log10(np.mean(rest**2) / max(np.ptp(profile), 1e-6) ** 2 + _FLOORS[0]))


def _along_borders(plane: NDArray[np.float64]) -> float:
    near, inside = [], []
    for turned in (plane, plane[::-1], plane.T, plane.T[::-1]):
        bend = np.diff(turned[: INSIDE[1] + 2], n=2, axis=0) ** 2
        near.append(bend[:STRIP].mean())
        inside.append(bend[INSIDE[0] : INSIDE[1]].mean())
    return float(np.log10((np.mean(near) + _FLOORS[1]) / (np.mean(inside) + _FLOORS[1])))
