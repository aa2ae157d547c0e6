"""Reads the images of an audit one by one, reports the bad ones, and passes the rest on in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data import Dataset
from torch.nn.functional import interpolate

from frerec.errors import ConfigError, FreRecError, InputError
from frerec.io.records import applied_to

#: What reading a broken or foreign file may raise; MONAI wraps whatever a transform raises in RuntimeError.
UNREADABLE = (FreRecError, OSError, ValueError, RuntimeError)


def reason(error: BaseException, path: str) -> str:
    """One line for the user about a file that cannot be used.

    Only our own errors are quoted: those of other libraries may hold header values, and a patient's name must not
    reach a log.
    """
    cause = error
    while not isinstance(cause, FreRecError) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, FreRecError):
        return " ".join(str(cause).split())
    return str(InputError(path, f"it cannot be read ({type(cause).__name__})", "Repair the file or take it out"))


class AuditDataset(Dataset):
    """Images of an audit, each on a nominal [0, 1] range.

    An image made from another one is brought to the range its input was brought to, so that the two can be
    compared. A file that cannot be used becomes a reason instead of an image.

    Args:
        data: items of :func:`frerec.audit.groups.audit_items`.
        transform: dictionary transform over the key ``image`` that loads a file and normalises it, leaving the range
            in its record (:class:`frerec.io.records.Applied`).
        channels: number of channels every image has.
        spatial_dims: 2 or 3.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Callable[[dict[str, Any]], dict[str, Any]],
        channels: int = 1,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__(data, transform)
        if spatial_dims not in (2, 3):
            raise ConfigError("spatial_dims", spatial_dims, "images have 2 or 3 spatial dimensions", "Use 2 or 3")
        self.channels = channels
        self.spatial_dims = spatial_dims

    def load(self, path: str, files: Sequence[str] = ()) -> tuple[torch.Tensor, tuple[float, float]]:
        """Load one file.

        Args:
            path: the file.
            files: all files, for a series.

        Returns:
            The image as float32 tensor (C, *spatial) on a nominal [0, 1] range, and the (lower, upper) physical
            values that 0 and 1 stand for.

        Raises:
            InputError: the file holds no image of the expected kind.
        """
        loaded = self.transform({"image": list(files) if len(files) > 1 else path})["image"]
        bounds = applied_to(loaded).normalize
        image = torch.as_tensor(loaded).detach().as_subclass(torch.Tensor).float()
        if image.ndim == self.spatial_dims + 2 and image.shape[-1] == 1:
            image = image.squeeze(-1)
        if image.ndim != self.spatial_dims + 1 or image.shape[0] != self.channels:
            raise InputError(
                path,
                f"it has shape {tuple(image.shape)}, not {self.channels} channel(s) and {self.spatial_dims} dimensions",
                "Set channels and spatial_dims to what all images of the audit have, or take the file out",
            )
        if not torch.isfinite(image).all():
            raise InputError(path, "it holds values that are not finite", "Repair the file or take it out")
        return image, ((0.0, 1.0) if bounds is None else (bounds.lower, bounds.upper))

    def read(self, item: dict[str, Any]) -> dict[str, Any]:
        """Load an item and, where it was made from another image, that one.

        Returns:
            The item with ``pixels`` (C, *spatial) and, for derived images, ``reference_pixels``, both on the range
            of the reference.

        Raises:
            InputError: a file cannot be used, or an image has another size than its input.
        """
        pixels, (lower, upper) = self.load(item["image"], item.get("files", ()))
        if item.get("reference") is None:
            return {**item, "pixels": pixels}
        reference, (low, high) = self.load(item["reference"], item.get("reference_files", ()))
        if reference.shape != pixels.shape:
            raise InputError(
                item["image"],
                f"it has shape {tuple(pixels.shape)}, its input {item['reference']} has {tuple(reference.shape)}",
                "Recalibrate that input again",
            )
        if (lower, upper) != (low, high):
            pixels = (pixels * (upper - lower) + (lower - low)) / (high - low)
        return {**item, "pixels": pixels, "reference_pixels": reference}

    def _transform(self, index: int) -> dict[str, Any]:
        item = self.data[index]
        try:
            return self.read(item)
        except UNREADABLE as error:
            return {**item, "error": reason(error, item["image"])}


def central_slice(image: torch.Tensor, spatial_dims: int) -> torch.Tensor:
    """The middle slice (C, H, W) of a volume (C, H, W, D); a 2-D image as it is."""
    return image[..., image.shape[-1] // 2] if spatial_dims == 3 else image


def collate_audit(batch: list[dict[str, Any]], size: int = 128, spatial_dims: int = 2) -> dict[str, Any]:
    """Batch audit images, which may differ in size.

    Args:
        batch: items of :class:`AuditDataset`.
        size: side of the square the feature network sees.
        spatial_dims: 2 or 3; of a volume the network sees the middle slice.

    Returns:
        ``items`` (readable ones, list of dicts), ``errors`` (the others) and ``image``, a float32 tensor
        (B, C, size, size) of the readable ones for the feature network.
    """
    items = [item for item in batch if "error" not in item]
    resized = [
        interpolate(central_slice(item["pixels"], spatial_dims)[None], (size, size), mode="bilinear", antialias=True)
        for item in items
    ]
    image = torch.cat(resized) if resized else torch.zeros(0, 1, size, size)
    return {"items": items, "errors": [item for item in batch if "error" in item], "image": image}
