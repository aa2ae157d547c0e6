"""What travels with an image, from the loader through all transforms to the saver: two records, typed and frozen.

They stand in ``meta["frerec"]``: under ``source`` the `Source` that the loader leaves, under ``applied`` the `Applied`
to which each step adds what it did, by `note`. Both are (empty) texts to whoever does not know them, because a text is
what collating and decollating, of torch and of MONAI, pass on unharmed, one for each image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from monai.data import MetaTensor

from frerec.io.formats import InputFile
from frerec.io.ranges import IntensityRange, Ranges


class _Record(str):
    def __new__(cls, *_fields: Any, **_named: Any) -> Any:
        return super().__new__(cls)

    __eq__, __hash__ = object.__eq__, object.__hash__

    def __bool__(self) -> bool:
        return True


@dataclass(frozen=True, eq=False)
class Source(_Record):
    """The file or series that an image was loaded from, and what is needed to write another one like it.

    Args:
        path: absolute path of the file, or of the folder below which all files of a series lie. Links are not replaced
            by what they point to.
        relative_path: the same relative to the loader's ``root`` (its name alone without one), with forward slashes;
            ``.`` for a series that lies in ``root`` itself.
        sha256: checksum of the file; of a series, of the concatenated hexadecimal checksums of its files in the order
            of ``files``.
        kind: ``dicom``, ``dicom-series``, ``nifti``, ``png``, ``tiff``, ``jpeg`` or ``bmp``.
        files: of a series in slice order.
        shape: of the loaded array, channel first.
        dtype: numpy type string of the stored values, with byte order, for example ``>i2``.
        ranges: the intensity ranges that ``NormalizeRange`` chooses from, in physical units.
        limits: smallest and largest physical value that the file can store; None where there is no such bound.
        step: between neighbouring physical values that it can store; 0 where they are not evenly spaced or not rounded.
        spacing: millimetres per voxel along each spatial axis (1.0 where the file states none).
        last_axis: meaning of the third spatial axis: ``none`` (2-D), ``slice`` or ``frame`` (time, views).
        frame_order: for each position on the third axis the frame's index in its file (multi-frame DICOM only).
        replicated: whether three equal channels became one.
        palette: whether a palette was resolved to its gray or colour values.
        labels: whether the header says that values are labels.
        padding: stored DICOM values that mean "no pixel here", a closed interval.
        value_rule: from stored to physical values of DICOM: ``identity``, ``rescale``, ``lut``, ``ybr``, ``palette``.
        inverted: whether MONOCHROME1 was turned into brighter-is-higher.
        warnings: sentences about what was unusual but could be read; no value from a header but sizes.
    """

    path: str
    relative_path: str
    sha256: str
    kind: str
    files: tuple[InputFile, ...]
    shape: tuple[int, ...]
    dtype: str
    ranges: Ranges
    limits: tuple[float, float] | None
    spacing: tuple[float, ...]
    last_axis: str = "none"
    frame_order: tuple[int, ...] = ()
    replicated: bool = False
    palette: bool = False
    labels: bool = False
    padding: tuple[int, int] | None = None
    value_rule: str = "identity"
    inverted: bool = False
    warnings: tuple[str, ...] = ()
    step: float = 0.0


@dataclass(frozen=True, eq=False)
class Applied(_Record):
    """What was done to an image so far.

    Args:
        normalize: the range that was mapped to [0, 1], in physical units.
        storable: smallest and largest value that the file can store, on the normalised scale.
        step: between neighbouring values that it can store, on that scale; 0 where values are not rounded.
        shr: settings of the statistical high-frequency replacement and, under ``drawn``, the bank image it drew.
        profile: ring powers that stage 2's output is to have, float32 (C, R); of size 0 for none.
        spacing: millimetres along each axis with a 3-D bank, else empty.
        bank_distance: distance to the reference bank, see ``frerec.shr.retrieval.familiarity``.
        bank_grade: its name; empty where it was not measured.
        bank_warning: what a user has to know of it; empty for nothing.
    """

    normalize: IntensityRange | None = None
    storable: tuple[float, float] = (-math.inf, math.inf)
    step: float = 0.0
    shr: Mapping[str, Any] = field(default_factory=dict)
    profile: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    spacing: tuple[float, ...] = ()
    bank_distance: float = 0.0
    bank_grade: str = ""
    bank_warning: str = ""

    def record(self) -> dict[str, Any]:
        """What a manifest tells of it, as plain values."""
        told: dict[str, Any] = {}
        if self.normalize is not None:
            told["normalize"] = asdict(self.normalize)
        if self.shr:
            told["shr"] = dict(self.shr)
        if self.bank_grade:
            told |= {"bank_distance": round(self.bank_distance, 3), "bank_grade": self.bank_grade}
        return told


def source_of(image: Any) -> Source | None:
    """The file an image was loaded from; None where it was not loaded by ``LoadMedicalImage``.

    Args:
        image: a MetaTensor, its metadata, or anything else.
    """
    return _records(image).get("source")


def applied_to(image: Any) -> Applied:
    """What was done to an image; an empty record where nothing was noted.

    Args:
        image: a MetaTensor, its metadata, or anything else.
    """
    return _records(image).get("applied", Applied())


def note(image: MetaTensor, **done: Any) -> None:
    """Add to the record of an image what was done to it; records that other images share are left as they are.

    Args:
        image: gets metadata of its own on the level that changes.
        done: fields of `Applied`.
    """
    image.meta = {**image.meta, "frerec": {**_records(image), "applied": replace(applied_to(image), **done)}}


def _records(image: Any) -> Mapping[str, Any]:
    meta = image if isinstance(image, Mapping) else getattr(image, "meta", None)
    return meta.get("frerec", {}) if isinstance(meta, Mapping) else {}
