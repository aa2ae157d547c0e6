"""The search for copies over the groups of an audit: against training images, a bank, or the real images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from frerec.audit.collector import GroupCollector
from frerec.audit.neighbours import copy_check, thumbnail
from frerec.shr.bank.reference import ReferenceBank

_CHUNK = 64


def _bank_thumbnails(bank: ReferenceBank) -> torch.Tensor:
    parts = []
    for start in range(0, len(bank), _CHUNK):
        pixels = bank.pixels(slice(start, start + _CHUNK))
        parts.append(thumbnail(pixels[..., pixels.shape[-1] // 2] if pixels.ndim == 5 else pixels))
    return torch.cat(parts)


def _file_of(group: GroupCollector) -> Callable[[int], str]:
    return lambda i: str(group.items[i]["image"])


def search_copies(
    groups: Mapping[str, GroupCollector], bank: ReferenceBank | None, bank_hits: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Look for outputs that are copies of real images.

    They are held against the training images, where none are given against the pixels of the bank, and where it has
    none against the real images. A bank without pixels knows identical images only, by their hash.

    Args:
        groups: what was collected of each group.
        bank: the reference bank, if there is one.
        bank_hits: files of each group that are identical to an image of the bank.

    Returns:
        Dict with ``against``, ``n_reference`` and one entry for each group of outputs; ``bank`` tells of identical
        images. Empty where there is nothing to hold against.
    """
    result: dict[str, Any] = {}
    if bank is not None:
        result["bank"] = {"n": len(bank), **{group: list(hits) for group, hits in bank_hits.items()}}
    training, real = groups["training"], groups["real"]
    if len(training):
        against, references = "training", training.thumbnails.get_buffer()
        name_of = _file_of(training)
    elif bank is not None and bank.info.kind == "pixels":
        against, references = "bank", _bank_thumbnails(bank)
        name_of = "image {} of the reference bank".format
    elif len(real):
        against, references = "real", real.thumbnails.get_buffer()
        name_of = _file_of(real)
    else:
        return result
    held_out = real.thumbnails.get_buffer() if against == "training" and len(real) else None
    result.update({"against": against, "n_reference": len(references)})
    for name in ("synthetic", "recalibrated"):
        if not len(groups[name]):
            continue
        found = copy_check(groups[name].thumbnails.get_buffer(), references, held_out)
        correlation = found["correlation"]
        ranked = correlation.argsort(descending=True, stable=True).tolist()
        suspects = set(found["suspects"])
        closest = ranked[: max(5, min(len(suspects), 20))]
        result[name] = {
            "n": len(groups[name]),
            "suspects": len(suspects),
            "threshold": found["threshold"],
            "held_out_maximum": found["held_out_maximum"],
            "held_out_median": found["held_out_median"],
            "median": float(correlation.median()),
            "closest": [
                {
                    "image": groups[name].items[i]["image"],
                    "nearest": name_of(int(found["nearest"][i])),
                    "correlation": float(correlation[i]),
                    "suspect": i in suspects,
                }
                for i in closest
            ],
        }
    return result
