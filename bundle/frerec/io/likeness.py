"""How much a written image has to do with the one that was read: the last look before anything is called done.

A recalibration changes fine detail. An output that is noise, a checkerboard or empty where its input was none of these
comes from a wrong range, a wrong bank or a fault of ours, and must not pass for a result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Share of the used range by which a value must lie beyond what can be stored to count as cut off.
CUT = 0.05


@dataclass(frozen=True)
class Limits:
    """How unlike its input an output may be.

    Args:
        correlation: smallest correlation with the input.
        psnr_db: smallest peak signal-to-noise ratio over the range that the input uses.
        cut: largest share of values that were cut off.
    """

    correlation: float
    psnr_db: float
    cut: float


#: Beyond these an output is not written: at 10 dB a blank image of the same mean would be as near to most inputs.
REFUSED = Limits(0.2, 10.0, 0.1)
#: Beyond these it is written with a warning. At the default settings all real images measured stay within, but for two
#: of a kind foreign to the bank; both limits are our choice, see docs/reference/manifest.md.
DOUBTFUL = Limits(0.7, 15.0, 0.01)


@dataclass(frozen=True)
class Likeness:
    """Joint moments of the values of an image before and after; those of parts add up to those of the whole.

    Args:
        count: number of values.
        means: mean before and after.
        squares: sums of squared deviations from the means, before and after.
        product: sum of products of the deviations.
        error: sum of squared differences.
        cut: number of values cut off, see `CUT`.
    """

    count: int = 0
    means: tuple[float, float] = (0.0, 0.0)
    squares: tuple[float, float] = (0.0, 0.0)
    product: float = 0.0
    error: float = 0.0
    cut: int = 0

    @classmethod
    def of(
        cls,
        old: npt.NDArray[Any],
        new: npt.NDArray[Any],
        wanted: npt.NDArray[Any],
        width: float = math.inf,
        step: float = 0.0,
    ) -> Likeness:
        """Compare what was read with what is written, in physical values.

        Args:
            old: values as read, any shape.
            new: values as they are stored.
            wanted: values before they were brought to what can be stored.
            width: of the range of values in use, see `CUT`.
            step: between neighbouring storable values: what is merely rounded is not cut off.
        """
        if old.size == 0:
            return cls()
        a, b = old.astype(np.float64).ravel(), new.astype(np.float64).ravel()
        cut = int(np.count_nonzero(np.abs(b - wanted.ravel()) > max(CUT * width, 0.75 * step)))
        error = float(np.square(a - b).sum())
        means = float(a.mean()), float(b.mean())
        a -= means[0]
        b -= means[1]
        return cls(a.size, means, (float(a @ a), float(b @ b)), float(a @ b), error, cut)

    def __add__(self, other: Likeness) -> Likeness:
        count = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        # Chan, Golub and LeVeque's update of moments: no large sums are subtracted.
        weight = self.count * other.count / count
        shift = [theirs - own for own, theirs in zip(self.means, other.means, strict=True)]
        return Likeness(
            count,
            (self.means[0] + shift[0] * other.count / count, self.means[1] + shift[1] * other.count / count),
            (
                self.squares[0] + other.squares[0] + weight * shift[0] ** 2,
                self.squares[1] + other.squares[1] + weight * shift[1] ** 2,
            ),
            self.product + other.product + weight * shift[0] * shift[1],
            self.error + other.error,
            self.cut + other.cut,
        )

    @property
    def correlation(self) -> float:
        """Pearson's correlation; 0 where the output is constant, 1 where nothing changed."""
        if self.error == 0:
            return 1.0
        spread = math.sqrt(self.squares[0] * self.squares[1])
        return self.product / spread if spread > 0 else 0.0

    def psnr_db(self, used: Sequence[float]) -> float:
        """Peak signal-to-noise ratio in dB over the range of values in use; infinite where nothing changed.

        Args:
            used: lower and upper end, in physical units.
        """
        if self.error == 0:
            return math.inf
        return 10 * math.log10((float(used[1]) - float(used[0])) ** 2 * self.count / self.error)


def combine(parts: Iterable[Likeness]) -> Likeness:
    """The likeness of a whole from those of its parts."""
    return sum(parts, Likeness())


def unlike(likeness: Likeness, used: Sequence[float], limits: Limits) -> str | None:
    """Say in what an output differs too much from its input.

    Args:
        likeness: of the whole image.
        used: range of values in use in the input, in physical units.
        limits: what is too much.

    Returns:
        A clause with the figures, or None for an output that is like its input.
    """
    told = []
    correlation, psnr, cut = likeness.correlation, likeness.psnr_db(used), likeness.cut / max(likeness.count, 1)
    if correlation < limits.correlation:
        told.append(f"its correlation with the input is {correlation:.2f} (limit {limits.correlation:g})")
    if psnr < limits.psnr_db:
        told.append(f"its PSNR over the range in use is {psnr:.1f} dB (limit {limits.psnr_db:g})")
    if cut > limits.cut:
        told.append(f"{cut:.0%} of its values were cut off (limit {limits.cut:.0%})")
    return ", ".join(told) or None
