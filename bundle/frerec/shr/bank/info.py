"""The header of a reference bank: what its tensors mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from frerec.errors import InputError
from frerec.shr.retrieval.descriptor import DescriptorSettings

FORMAT = "frerec-reference-bank"
#: Version 2 added block hashes (:mod:`frerec.shr.bank.file`).
FORMAT_VERSION = 2
READABLE_VERSIONS = ("1", "2")
KINDS = ("statistics", "pixels")


@dataclass(frozen=True)
class BankInfo:
    """Header of a reference bank.

    Attributes:
        kind: ``statistics`` (no pixels, no phases) or ``pixels`` (adds the images, for use in house).
        spatial_dims: 2 or 3.
        channels: channels of every image.
        image_size: spatial size of every image.
        n_rings: rings of the ring statistics.
        spacing: relative pixel size along each axis that the radius was measured with; None where pixels count as
            square, as they always do in a 2-D bank.
        descriptor: layout of the retrieval descriptor.
        provenance: where the images come from and how they were prepared, in words.
        licence: under which terms the bank may be passed on, in words.
    """

    kind: str
    spatial_dims: int
    channels: int
    image_size: tuple[int, ...]
    n_rings: int
    spacing: tuple[float, ...] | None = None
    descriptor: DescriptorSettings = field(default_factory=DescriptorSettings)
    provenance: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS or len(self.image_size) != self.spatial_dims or self.spatial_dims not in (2, 3):
            raise ValueError(f"kind={self.kind}, spatial_dims={self.spatial_dims}, image_size={self.image_size}")

    @property
    def tensor_names(self) -> frozenset[str]:
        """The tensors a bank with this header holds."""
        names = frozenset({"ring_statistics", "descriptors", "content_hash", "group"})
        return names | {"pixels", "windows"} if self.kind == "pixels" else names

    def to_metadata(self) -> dict[str, str]:
        """The header as text by name, values other than text in JSON."""
        items = {k: v if isinstance(v, str) else json.dumps(v) for k, v in asdict(self).items()}
        return {"format": FORMAT, "format_version": str(FORMAT_VERSION), **items}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: str) -> BankInfo:
        """Read back what :meth:`to_metadata` wrote.

        Args:
            metadata: text by name.
            path: the file it comes from, for the error.

        Raises:
            InputError: not a reference bank, or of a format version this release does not read.
        """
        if metadata.get("format") != FORMAT:
            raise InputError(path, "is a safetensors file but not a reference bank", "Check bank_path")
        if metadata.get("format_version") not in READABLE_VERSIONS:
            raise InputError(
                path,
                f"has bank format version {metadata.get('format_version')}; this release reads 1 and 2",
                "Build the bank anew with configs/build_bank.json, or use the release that wrote it",
            )
        try:
            spacing = json.loads(metadata["spacing"])
            return cls(
                kind=metadata["kind"],
                spatial_dims=int(metadata["spatial_dims"]),
                channels=int(metadata["channels"]),
                image_size=tuple(json.loads(metadata["image_size"])),
                n_rings=int(metadata["n_rings"]),
                spacing=None if spacing is None else tuple(spacing),
                descriptor=DescriptorSettings(**json.loads(metadata["descriptor"])),
                provenance=metadata["provenance"],
                licence=metadata["licence"],
            )
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(path, f"has a damaged header ({error})", "Build the bank anew") from error
