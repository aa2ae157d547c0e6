"""Is an output a copy of a training image? Nearest neighbours by the correlation of small pictures."""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric
from torch.nn.functional import interpolate

SIZE = 32


def thumbnail(images: torch.Tensor, size: int = SIZE) -> torch.Tensor:
    """Unit vectors whose dot product is the correlation of the size x size pictures of two images.

    Small pictures see through what recalibration changes, noise, and mild crops; the mean and the contrast do not
    count.

    Args:
        images: (B, C, H, W).
        size: side of the picture.

    Returns:
        float32 (B, C * size * size), each of mean 0 and length 1 (next to 0 for a
        constant image).
    """
    small = interpolate(images.float(), (size, size), mode="bilinear", antialias=True).flatten(1)
    small = small - small.mean(1, keepdim=True)
    return torch.nn.functional.normalize(small, dim=1, eps=1e-3)


class ThumbnailMetric(CumulativeIterationMetric):
    """Collects the :func:`thumbnail` of every image (4 kB an image and channel)."""

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Thumbnails of images (B, C, H, W)."""
        return thumbnail(y_pred).cpu()

    def aggregate(self) -> torch.Tensor:
        """All thumbnails, (N, C * SIZE * SIZE)."""
        return self.get_buffer()


def _symmetric(thumbnails: torch.Tensor, size: int = SIZE) -> torch.Tensor:
    """The same vectors in other coordinates: their mirror-symmetric half, then the antisymmetric one."""
    pictures = thumbnails.view(len(thumbnails), -1, size, size)
    left, right = pictures[..., : size // 2], pictures.flip(-1)[..., : size // 2]
    return torch.cat([(left + right).flatten(1), (left - right).flatten(1)], dim=1).mul_(0.5**0.5)


def nearest(queries: torch.Tensor, references: torch.Tensor, chunk: int = 512) -> tuple[torch.Tensor, torch.Tensor]:
    """Most correlated reference of each query, as it is or mirrored.

    Args:
        queries: (N, D) from :func:`thumbnail`.
        references: (M, D).
        chunk: queries compared at a time; bounds memory.

    Returns:
        Correlation float32 (N,), from -1 to 1, and index int64 (N,) of the reference.
    """
    best, index = [], []
    # mirroring turns the sign of the antisymmetric half, so one comparison serves both: s + a or s - a, thus s + |a|
    even, odd = _symmetric(references).T.chunk(2)
    for part in queries.split(chunk):
        of_even, of_odd = _symmetric(part).chunk(2, dim=1)
        value, position = (of_odd @ odd).abs_().add_(of_even @ even).max(1)
        best.append(value)
        index.append(position)
    return torch.cat(best), torch.cat(index)


def copy_check(
    queries: torch.Tensor, references: torch.Tensor, held_out: torch.Tensor | None, threshold: float = 0.995
) -> dict[str, Any]:
    """Search a set for copies of training images.

    Real images that nobody trained on show how alike two different images get: a suspect is at least twice as close
    to a training image (1 - correlation at most half) as the closest of them, the top percent aside, because the
    same image may be filed twice.

    Args:
        queries: thumbnails (N, D) of the outputs.
        references: thumbnails (M, D) of the training images.
        held_out: thumbnails of real images outside the training set, or None.
        threshold: correlation of a suspect where there are no held-out images.

    Returns:
        Dict with ``correlation`` (N,), ``nearest`` (N,), ``suspects`` (indices, most alike first), ``threshold`` as
        used, ``held_out_maximum`` and ``held_out_median`` (None without held-out images).
    """
    correlation, index = nearest(queries, references)
    maximum, median = None, None
    if held_out is not None and len(held_out):
        outside, _ = nearest(held_out, references)
        maximum, median = float(outside.max()), float(outside.median())
        threshold = 1 - (1 - float(outside.quantile(0.99))) / 2
    order = torch.argsort(correlation, descending=True, stable=True)
    return {
        "correlation": correlation,
        "nearest": index,
        "suspects": [int(i) for i in order if correlation[i] >= threshold],
        "threshold": threshold,
        "held_out_maximum": maximum,
        "held_out_median": median,
    }
